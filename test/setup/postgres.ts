import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync, existsSync, mkdtempSync, openSync, closeSync, readdirSync, readFileSync,
  realpathSync, renameSync, rmSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import pg from 'pg'
import { need, POSTGRES } from './programs.ts'
import { freePort } from './redis.ts'

interface Owner { teardown: (fn: () => unknown) => unknown }

/** The user of the server: root may not run it. */
interface User { uid?: number, gid?: number }

const SETTINGS = ['fsync=off', 'unix_socket_directories=', 'listen_addresses=127.0.0.1', 'shared_buffers=32MB',
  'jit=off', 'logging_collector=off', 'autovacuum_naptime=1s']

/** Returns another user than root, if this process runs as root. */
export function unprivileged (): User {
  if (process.getuid?.() !== 0) return {}
  const users = readFileSync('/etc/passwd', 'utf8').split('\n').map(line => line.split(':'))
  const [, , uid, gid] = users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody')!
  return { uid: Number(uid), gid: Number(gid) }
}

/** Returns a folder of that user, removed after the test. */
export function folderOf (t: Owner, name: string, user: User): string {
  const folder = mkdtempSync(join(tmpdir(), `${name}-`))
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid!)
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const programs = (): string => dirname(realpathSync(need(POSTGRES)))

function run (program: string, args: readonly string[], user: User): void {
  const { status, stderr, error } = spawnSync(program, args, { ...user, cwd: '/', encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} failed: ${error?.message ?? stderr}`)
}

/** Copies an empty cluster to a folder. The first call on a machine creates it, which takes seconds. */
function createCluster (folder: string, user: User): void {
  const template = join(tmpdir(), `fastify-typed-sse${programs().replaceAll('/', '-')}-${user.uid ?? process.getuid?.()}`)
  if (!existsSync(join(template, 'PG_VERSION'))) {
    const made = `${folder}/template`
    run(join(programs(), 'initdb'), ['-D', made, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C',
      '--wal-segsize=1', '--no-sync', '--no-instructions'], user)
    try {
      renameSync(made, template)
    } catch {
      // Another test has been faster.
    }
  }
  run('cp', ['-a', template, join(folder, 'data')], user)
}

/** A PostgreSQL for one test: on a free port, with its own folder, removed after the test. */
export class PostgresServer {
  readonly port: number
  readonly folder: string
  readonly #settings: readonly string[]
  readonly #user: User
  #process: ChildProcess | undefined

  private constructor (port: number, folder: string, settings: readonly string[], user: User) {
    this.port = port
    this.folder = folder
    this.#settings = settings
    this.#user = user
  }

  /** Starts it with an empty database `postgres`. The settings are those of the configuration, such as `fsync=on`. */
  static async start (t: Owner, ...settings: string[]): Promise<PostgresServer> {
    const user = unprivileged()
    const folder = folderOf(t, 'postgres', user)
    createCluster(folder, user)
    for (let tries = 1; ; tries++) {
      const server = new PostgresServer(await freePort(), folder, [...SETTINGS, ...settings], user)
      try {
        await server.start()
        t.teardown(() => server.kill())
        return server
      } catch (error) {
        // Another process has taken the port.
        if (tries === 3) throw error
      }
    }
  }

  get pid (): number | undefined { return this.#process?.pid }

  get url (): string { return `postgres://postgres@127.0.0.1:${this.port}/postgres` }

  /** What it has logged. */
  get log (): string { return readFileSync(join(this.folder, 'log'), 'utf8') }

  /** Resolves when it answers, with the data in its folder. */
  async start (): Promise<void> {
    const log = openSync(join(this.folder, 'log'), 'a')
    const child = spawn(need(POSTGRES), ['-D', join(this.folder, 'data'), '-p', String(this.port),
      ...this.#settings.flatMap(setting => ['-c', setting])], { ...this.#user, cwd: '/', stdio: ['ignore', log, log] })
    closeSync(log)
    this.#process = child
    // A test that crashes has no teardown.
    const end = (): void => { child.kill('SIGQUIT') }
    process.once('exit', end)
    child.once('exit', () => process.off('exit', end))
    while (!await this.#answers()) {
      if (child.exitCode !== null) throw new Error(`PostgreSQL did not start: ${this.log}`)
      await pause(20)
    }
  }

  /** Replaces the data by an empty database; the server does not run. */
  reset (): void {
    rmSync(join(this.folder, 'data'), { recursive: true, force: true })
    createCluster(this.folder, this.#user)
  }

  /** Copies the data of the running server, as of now. */
  async copy (): Promise<void> {
    const copied = join(this.folder, 'copied')
    rmSync(copied, { recursive: true, force: true })
    await promisify(execFile)(join(programs(), 'pg_basebackup'), ['-d', this.url, '-D', copied, '-X', 'stream',
      '--checkpoint=fast', '--no-sync'], { ...this.#user, cwd: '/' })
  }

  /** Replaces the data by the copy; the server does not run. */
  restore (): void {
    rmSync(join(this.folder, 'data'), { recursive: true, force: true })
    renameSync(join(this.folder, 'copied'), join(this.folder, 'data'))
  }

  /**
   * Stops it like a crash, or with the given signal: SIGINT disconnects all clients and stops it regularly, SIGKILL
   * kills all of its processes.
   */
  async kill (signal: NodeJS.Signals = 'SIGQUIT'): Promise<void> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const over = once(child, 'exit')
    const pids = signal === 'SIGKILL' ? this.#pids() : []
    for (const pid of pids) send(pid, signal)
    child.kill(signal)
    this.signal('SIGCONT')
    await over
    // They share memory, and the next server waits for none of them.
    while (pids.some(pid => parentOf(pid) !== undefined)) await pause(5)
  }

  /** Sends a signal to the server and to the process of each connection. */
  signal (signal: NodeJS.Signals): void {
    for (const pid of this.#pids()) send(pid, signal)
  }

  async freeze (time: number): Promise<void> {
    this.signal('SIGSTOP')
    await pause(time)
    this.signal('SIGCONT')
  }

  /** Returns a pool that is closed after the test. */
  pool (t: Owner, options: pg.PoolConfig = {}): pg.Pool {
    const pool = new pg.Pool({ host: '127.0.0.1', port: this.port, user: 'postgres', database: 'postgres', ...options })
    pool.on('error', () => {})
    t.teardown(() => pool.end())
    return pool
  }

  #pids (): number[] {
    const { pid } = this
    return readdirSync('/proc').filter(name => /^\d+$/.test(name)).map(Number).filter(other =>
      other === pid || parentOf(other) === pid)
  }

  async #answers (): Promise<boolean> {
    const client = new pg.Client({ connectionString: this.url })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.end()
      return true
    } catch {
      return false
    }
  }
}

function send (pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has just ended.
  }
}

/** Returns the parent of a process; undefined if it has ended, also if its parent has not noticed it. */
function parentOf (pid: number): number | undefined {
  try {
    const [state, parent] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ')
    return state === 'Z' ? undefined : Number(parent)
  } catch {
    return undefined
  }
}
