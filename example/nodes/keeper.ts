import type { ChildProcess } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'

// Long enough to be seen on the page.
const AWAY = 2_000
// What does not end by then is ended.
const PATIENCE = 3_000

/** How a process is started. */
export interface Start {
  spawn: () => ChildProcess
  /** Resolves when it serves, with its port where it has one; rejects when the signal says that it is gone. */
  ready: (child: ChildProcess, gone: AbortSignal) => Promise<number | undefined>
}

/** Keeps a process there: when it is lost, another one takes its place after a while. Emits 'change' when it comes up or goes down. */
export class Keeper extends EventEmitter<{ change: [] }> {
  readonly name: string
  /** Whether it serves. */
  up = false
  port: number | undefined
  readonly #start: Start
  readonly #stopping = new AbortController()
  #child: ChildProcess | undefined

  constructor (name: string, start: Start) {
    super()
    this.name = name
    this.#start = start
  }

  get pid (): number | undefined { return this.up ? this.#child?.pid : undefined }

  /** Resolves when the process serves. */
  async start (): Promise<void> {
    this.#stopping.signal.throwIfAborted()
    const child = this.#child = this.#start.spawn()
    const gone = new AbortController()
    const lost = (error?: Error): void => {
      if (gone.signal.aborted) return
      gone.abort(error)
      this.#turn(false)
      this.#again()
    }
    child.once('exit', () => lost()).once('error', lost)
    try {
      const port = await this.#start.ready(child, gone.signal)
      gone.signal.throwIfAborted()
      this.#turn(true, port)
    } catch (cause) {
      throw new Error(`${this.name} did not start`, { cause })
    }
  }

  /** As a crash. */
  kill (): void { this.#child?.kill('SIGKILL') }

  /** Resolves when the process is gone; no other takes its place. */
  async stop (): Promise<void> {
    this.#stopping.abort()
    const child = this.#child
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const over = once(child, 'exit')
    child.kill('SIGTERM')
    const late = setTimeout(() => child.kill('SIGKILL'), PATIENCE)
    await over
    clearTimeout(late)
  }

  #turn (up: boolean, port?: number): void {
    if (this.up === up) return
    this.up = up
    this.port = port
    this.emit('change')
  }

  async #again (): Promise<void> {
    try {
      await pause(AWAY, undefined, { signal: this.#stopping.signal })
      await this.start()
    } catch {
      // Stopped; or lost again, and then this is called again.
    }
  }
}
