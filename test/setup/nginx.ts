import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { need, NGINX } from './programs.ts'
import { freePort } from './redis.ts'

interface Owner { teardown: (fn: () => unknown) => unknown }

/** Returns the content of the block `http` for two free ports of 127.0.0.1. */
export type HttpBlock = (port: number, other: number) => string

// Each kind of module needs a folder for bodies, even if there are none.
const BODIES = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']

/** Paths are within the folder, the prefix of nginx. */
const config = (main: string, http: string): string => `
# As root, nginx would run its workers as another user, who cannot read the folder.
${process.getuid?.() === 0 ? 'user root root;' : ''}
worker_processes 1;
daemon off;
pid pid;
error_log stderr notice;
${main}
events { worker_connections 512; }
http {
access_log off;
${BODIES.map(name => `${name}_temp_path ${name};`).join('\n')}
${http}
}
`

/** An nginx for one test: with one worker, on free ports, with its own folder, removed after the test. */
export class Nginx {
  readonly port: number
  readonly other: number
  readonly #process: ChildProcess
  readonly #over: Promise<unknown>
  #log = ''

  private constructor (folder: string, port: number, other: number) {
    this.port = port
    this.other = other
    this.#process = spawn(need(NGINX), ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr'], {
      stdio: ['ignore', 'ignore', 'pipe']
    })
    this.#process.stderr!.setEncoding('utf8').on('data', text => {
      this.#log += text
    })
    // Including its last output.
    this.#over = once(this.#process, 'close')
  }

  /** Resolves when it serves. `main` is the configuration beside the block `http`. */
  static async start (t: Owner, http: HttpBlock, main = ''): Promise<Nginx> {
    const folder = mkdtempSync(join(tmpdir(), 'nginx-'))
    t.teardown(() => rmSync(folder, { recursive: true, force: true }))
    for (let tries = 1; ; tries++) {
      const port = await freePort()
      let other = port
      while (other === port) other = await freePort()
      writeFileSync(join(folder, 'nginx.conf'), config(main, http(port, other)))
      const nginx = new Nginx(folder, port, other)
      t.teardown(() => nginx.stop())
      try {
        await nginx.logs('start worker process ')
        return nginx
      } catch (error) {
        // Another process has taken a port.
        if (tries === 5 || !nginx.log.includes('Address already in use')) throw error
      }
    }
  }

  /** Its complete log, from notices to alerts. */
  get log (): string { return this.#log }

  /** Waits until its log contains a text, after the first `from` characters. */
  async logs (text: string, from = 0): Promise<void> {
    const stderr = this.#process.stderr!
    while (this.#log.indexOf(text, from) === -1) {
      if (stderr.closed) throw new Error(`nginx exited without logging ${JSON.stringify(text)}: ${this.#log}`)
      await Promise.race([once(stderr, 'data'), this.#over])
    }
  }

  /** Like `nginx -s reload`. Resolves when new workers serve, and the old ones only finish their connections. */
  async reload (): Promise<void> {
    const from = this.#log.length
    this.#process.kill('SIGHUP')
    await this.logs('gracefully shutting down', from)
  }

  /** Resolves when it has exited, with its workers. */
  async stop (): Promise<void> {
    this.#process.kill('SIGTERM')
    await this.#over
  }
}
