import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { need, REDIS } from './programs.ts'

interface Owner { teardown: (fn: () => unknown) => unknown }

/** Returns a port of 127.0.0.1 that was free a moment ago. */
export async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

function folderOf (t: Owner): string {
  const folder = mkdtempSync(join(tmpdir(), 'redis-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A Redis for one test: on a free port, with its own folder, removed after the test. */
export class RedisServer {
  readonly port: number
  readonly folder: string
  readonly #args: readonly string[]
  #process: ChildProcess | undefined

  private constructor (port: number, folder: string, args: readonly string[]) {
    this.port = port
    this.folder = folder
    this.#args = args
  }

  /** The arguments are those of the command line, such as `--appendonly yes`. */
  static start (t: Owner, ...args: string[]): Promise<RedisServer> {
    return RedisServer.#start(t, folderOf(t), ['--save', '', ...args])
  }

  /** Starts a sentinel that watches a master, with short timeouts. */
  static sentinel (t: Owner, name: string, master: number): Promise<RedisServer> {
    const folder = folderOf(t)
    const file = join(folder, 'sentinel.conf')
    writeFileSync(file,
      `sentinel monitor ${name} 127.0.0.1 ${master} 1\nsentinel down-after-milliseconds ${name} 500\nsentinel failover-timeout ${name} 5000\n`)
    return RedisServer.#start(t, folder, [file, '--sentinel'])
  }

  static async #start (t: Owner, folder: string, args: readonly string[]): Promise<RedisServer> {
    for (let tries = 1; ; tries++) {
      const server = new RedisServer(await freePort(), folder, args)
      try {
        await server.start()
        t.teardown(() => server.kill())
        return server
      } catch (error) {
        // Another process has taken the port, or a cluster needs one below 55536.
        if (tries === 10) throw error
      }
    }
  }

  get pid (): number | undefined { return this.#process?.pid }

  get #data (): string { return join(this.folder, 'appendonlydir') }
  get #copied (): string { return join(this.folder, 'copied') }

  /** Resolves when it answers, with the data in its folder. */
  async start (): Promise<void> {
    const child = spawn(need(REDIS), [...this.#args, '--port', String(this.port), '--bind', '127.0.0.1', '--dir',
      this.folder, '--daemonize', 'no', '--logfile', join(this.folder, 'log')], { stdio: 'ignore' })
    this.#process = child
    const client = new Redis({
      port: this.port,
      host: '127.0.0.1',
      retryStrategy: () => 20,
      maxRetriesPerRequest: null
    })
    client.on('error', () => {})
    try {
      await Promise.race([client.ping(), once(child, 'exit').then(() => {
        throw new Error(`redis-server on port ${this.port} did not start`)
      })])
    } finally {
      client.disconnect()
    }
  }

  /** Kills it like a crash, or sends the given signal. */
  async kill (signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const over = once(child, 'exit')
    child.kill(signal)
    await over
  }

  signal (signal: NodeJS.Signals): void { this.#process?.kill(signal) }

  /** Deletes the data; the server does not run. */
  reset (): void { rmSync(this.#data, { recursive: true, force: true }) }

  /** Copies the data of a running server with `--appendonly yes`, as of now. It must not rewrite its file meanwhile. */
  async copy (): Promise<void> {
    rmSync(this.#copied, { recursive: true, force: true })
    cpSync(this.#data, this.#copied, { recursive: true })
  }

  /** Replaces the data by the copy; the server does not run. */
  restore (): void {
    this.reset()
    renameSync(this.#copied, this.#data)
  }

  async freeze (time: number): Promise<void> {
    this.signal('SIGSTOP')
    await pause(time)
    this.signal('SIGCONT')
  }

  /** Returns a client that is closed after the test. */
  client (t: Owner, options: object = {}): Redis {
    const client = new Redis({ port: this.port, host: '127.0.0.1', ...options })
    client.on('error', () => {})
    t.teardown(() => client.disconnect())
    return client
  }
}
