import { EventEmitter } from 'node:events'
import { Writable } from 'node:stream'
import type { World } from '../../lib/cli/run.ts'
import type { Output } from '../../lib/cli/terminal.ts'
import { within } from './within.ts'

/** The end of a pipe, which records the written text. */
export class Paper extends Writable {
  isTTY = false
  text = ''
  readonly #writes = new EventEmitter()
  /** The error of each write. */
  failure: Error | undefined

  override _write (chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    if (this.failure === undefined) this.text += String(chunk)
    done(this.failure)
    this.#writes.emit('written')
  }

  get lines (): string[] { return this.text.split('\n').slice(0, -1) }

  /** Settles when this text was written. */
  async until (text: string): Promise<void> {
    const wait = async (): Promise<void> => {
      while (!this.text.includes(text)) await new Promise(resolve => this.#writes.once('written', resolve))
    }
    await within(`${JSON.stringify(text)} after ${JSON.stringify(this.text)}`, wait())
  }
}

/** The parts of a process that a command uses, controlled by a test. */
export class Shell extends EventEmitter implements World {
  readonly stdout: Paper & Output = new Paper()
  readonly stderr: Paper & Output = new Paper()
  env: Record<string, string> = {}
  readonly #controller = new AbortController()

  get signal (): AbortSignal { return this.#controller.signal }

  /** Interrupts a command like Ctrl-C, without its `run`. */
  interrupt (): void { this.#controller.abort() }
}
