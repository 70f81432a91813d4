import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { secrets, type Server, type Transport } from './connection.ts'
import type { Cores } from './cores.ts'

// A server that does not answer by then never will: its source keeps the event loop busy.
const PATIENCE = 30_000

export interface Memory { heap: number, rss: number }
export interface Cpu { user: number, system: number }

export interface Options {
  cores: Cores | undefined
  transport?: Transport
  /** The path of Node. By default, the Node of this process. */
  node?: string
}

/**
 * One of the compared servers, in its own process. It is plain JavaScript run by plain Node, so no loader affects the
 * measurement.
 */
export class Contestant implements Server {
  readonly name: string
  readonly transport: Transport
  readonly #process: ChildProcess
  #port = 0

  constructor (name: string, file: string, { cores, transport = 'http', node: path = process.execPath }: Options) {
    this.name = name
    this.transport = transport
    const node = [path, '--expose-gc', fileURLToPath(new URL(`servers/${file}`, import.meta.url))]
    const [command, ...args] = cores === undefined ? node : ['taskset', '-c', String(cores.server), ...node]
    // Environment variables of a loader or coverage tool of this process must not reach the servers.
    const { NODE_OPTIONS: _options, NODE_V8_COVERAGE: _coverage, ...own } = process.env
    const env = { ...own, BENCH_TRANSPORT: transport, BENCH_KEY: secrets.key, BENCH_CERT: secrets.cert }
    this.#process = spawn(command!, args, { env, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#process.once('exit', this.#died)
    // A busy loop does not notice that its parent has exited.
    process.once('exit', this.#kill)
  }

  get port (): number { return this.#port }

  async listening (): Promise<void> {
    this.#port = await this.#answer<number>()
  }

  /** The CPU time of the process so far, in microseconds. */
  cpu (): Promise<Cpu> {
    return this.request('cpu')
  }

  /** The bytes in use, after a full collection. */
  memory (): Promise<Memory> {
    return this.request('memory')
  }

  /** Sends a request to its server. One at a time: answers have no id. */
  request<T = null> (question: string, ...details: number[]): Promise<T> {
    this.#process.send([question, ...details])
    return this.#answer()
  }

  async stop (): Promise<void> {
    this.#process.removeListener('exit', this.#died)
    process.removeListener('exit', this.#kill)
    this.#process.disconnect()
    await once(this.#process, 'exit')
  }

  async #answer<T> (): Promise<T> {
    const patience = AbortSignal.timeout(PATIENCE)
    const [answer] = await once(this.#process, 'message', { signal: patience }).catch((cause: unknown) => {
      throw new Error(`The server of ${this.name} did not answer for ${PATIENCE} ms`, { cause })
    }) as [T]
    return answer
  }

  readonly #kill = (): void => { this.#process.kill('SIGKILL') }

  /** If a server exits, the benchmark fails: half a comparison is useless. */
  readonly #died = (code: number | null): void => {
    throw new Error(`The server of ${this.name} ended with code ${code}`)
  }
}
