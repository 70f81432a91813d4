import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Owner } from '../chaos/world.ts'

/** The commands of a process, by name. */
export type Duties = Record<string, (...details: never[]) => unknown>

interface Question { number: number, duty: string, details: unknown[] }
interface Answer { number: number, result?: unknown, fault?: string }

// Generous for a busy machine; a process that does not answer by then never will.
const PATIENCE = 120_000

/** A child process that executes commands, and exits with its owner. */
export class Worker<D extends Duties> {
  readonly #name: string
  readonly #process: ChildProcess
  readonly #waiting = new Map<number, { resolve: (result: never) => void, reject: (error: Error) => void }>()
  #calls = 0

  private constructor (name: string, process: ChildProcess) {
    this.#name = name
    this.#process = process
    process.on('message', ({ number, result, fault }: Answer) => {
      const waiting = this.#waiting.get(number)
      this.#waiting.delete(number)
      if (fault === undefined) waiting?.resolve(result as never)
      else waiting?.reject(new Error(`${name}: ${fault}`))
    })
    process.once('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`${name} ended with ${code ?? signal}`))
    })
  }

  /** Resolves when it is ready for commands. */
  static async start<D extends Duties> (t: Owner, file: string, ...args: unknown[]): Promise<Worker<D>> {
    const program = fileURLToPath(new URL(file, import.meta.url))
    // Environment variables of a coverage tool of this process must not reach it.
    const { NODE_OPTIONS: _options, NODE_V8_COVERAGE: _coverage, ...env } = process.env
    const child = spawn(process.execPath, ['--expose-gc', '--import', 'tsx', program, ...args.map(String)], {
      env,
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc']
    })
    t.teardown(async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      const over = once(child, 'exit')
      child.kill('SIGKILL')
      await over
    })
    const worker = new Worker<D>(file, child)
    await Promise.race([once(child, 'message'), once(child, 'exit').then(() => {
      throw new Error(`${file} did not start`)
    })])
    return worker
  }

  call<N extends keyof D & string> (duty: N, ...details: Parameters<D[N]>): Promise<Awaited<ReturnType<D[N]>>> {
    const number = ++this.#calls
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${this.#name} did not do '${duty}' within ${PATIENCE} ms`)),
        PATIENCE)
      const settled = <A>(settle: (answer: A) => void) => (answer: A): void => {
        clearTimeout(late)
        settle(answer)
      }
      this.#waiting.set(number, { resolve: settled(resolve), reject: settled(reject) })
      this.#process.send({ number, duty, details } satisfies Question)
    })
  }

  /** Disconnects it: with nothing left to do, it exits. Resolves to its exit code. */
  async leave (): Promise<number | null> {
    const over = once(this.#process, 'exit')
    this.#process.disconnect()
    return (await over)[0]
  }
}

/** The other side, in the child process. */
export function serve (duties: Duties): void {
  process.on('message', async ({ number, duty, details }: Question) => {
    try {
      const result = await (duties[duty] as (...details: unknown[]) => unknown)(...details)
      process.send!({ number, result } satisfies Answer)
    } catch (error) {
      process.send!({ number, fault: String((error as Error).stack) } satisfies Answer)
    }
  })
  process.send!({ number: 0 } satisfies Answer)
}
