import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { folderOf, unprivileged } from './postgres.ts'
import { need, PGBOUNCER } from './programs.ts'
import { freePort } from './redis.ts'

interface Owner { teardown: (fn: () => unknown) => unknown }

/** A PgBouncer in transaction mode in front of a PostgreSQL, for one test: on a free port, stopped after the test. */
export class PgBouncer {
  readonly port: number
  readonly #process: ChildProcess

  private constructor (port: number, child: ChildProcess) {
    this.port = port
    this.#process = child
  }

  static async start (t: Owner, postgres: number): Promise<PgBouncer> {
    const user = unprivileged()
    const folder = folderOf(t, 'pgbouncer', user)
    const port = await freePort()
    writeFileSync(join(folder, 'users'), '"postgres" ""\n')
    writeFileSync(join(folder, 'config'), `[databases]
* = host=127.0.0.1 port=${postgres}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = trust
auth_file = ${join(folder, 'users')}
pool_mode = transaction
`)
    const child = spawn(need(PGBOUNCER), [join(folder, 'config')], { ...user, cwd: '/', stdio: 'ignore' })
    const bouncer = new PgBouncer(port, child)
    t.teardown(() => bouncer.stop())
    while (!await bouncer.#answers()) {
      if (child.exitCode !== null) throw new Error('PgBouncer did not start')
      await pause(20)
    }
    return bouncer
  }

  async stop (): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const over = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await over
  }

  /** Returns a pool that is closed after the test. */
  pool (t: Owner, options: pg.PoolConfig = {}): pg.Pool {
    const pool = new pg.Pool({ host: '127.0.0.1', port: this.port, user: 'postgres', database: 'postgres', ...options })
    pool.on('error', () => {})
    t.teardown(() => pool.end())
    return pool
  }

  async #answers (): Promise<boolean> {
    const client = new pg.Client({ host: '127.0.0.1', port: this.port, user: 'postgres', database: 'postgres' })
    client.on('error', () => {})
    return await client.connect().then(() => client.end()).then(() => true, () => false)
  }
}
