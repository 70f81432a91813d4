import type { ChildProcess } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

// The delay before a restart, in milliseconds: long enough to be seen on the page.
const RESTART_DELAY = 2_000
// A process that has not ended by then is killed.
const STOP_TIMEOUT = 3_000

/** How a process is started. */
export interface Launcher {
  spawn: () => ChildProcess
  /**
   * Resolves when the process serves, with its port if it has one. Rejects when the signal aborts because it exited.
   */
  ready: (child: ChildProcess, exited: AbortSignal) => Promise<number | undefined>
}

/** Restarts a process whenever it exits. Emits 'change' when it is up or down. */
export class Supervisor extends EventEmitter<{ change: [] }> {
  readonly name: string
  /** True while the process serves. */
  up = false
  port: number | undefined
  readonly #launcher: Launcher
  readonly #stopping = new AbortController()
  #child: ChildProcess | undefined

  constructor (name: string, launcher: Launcher) {
    super()
    this.name = name
    this.#launcher = launcher
  }

  get pid (): number | undefined { return this.up ? this.#child?.pid : undefined }

  /** Resolves when the process serves. */
  async start (): Promise<void> {
    this.#stopping.signal.throwIfAborted()
    const child = this.#child = this.#launcher.spawn()
    const exited = new AbortController()
    const onExit = (error?: Error): void => {
      if (exited.signal.aborted) return
      exited.abort(error)
      this.#setUp(false)
      this.#restart()
    }
    child.once('exit', () => onExit()).once('error', onExit)
    try {
      const port = await this.#launcher.ready(child, exited.signal)
      exited.signal.throwIfAborted()
      this.#setUp(true, port)
    } catch (cause) {
      throw new Error(`${this.name} did not start`, { cause })
    }
  }

  /** Ends the process like a crash. It is restarted. */
  kill (): void { this.#child?.kill('SIGKILL') }

  /** Ends the process for good. Resolves when it has exited. */
  async stop (): Promise<void> {
    this.#stopping.abort()
    const child = this.#child
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exit = once(child, 'exit')
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT)
    await exit
    clearTimeout(timer)
  }

  #setUp (up: boolean, port?: number): void {
    if (this.up === up) return
    this.up = up
    this.port = port
    this.emit('change')
  }

  async #restart (): Promise<void> {
    try {
      await sleep(RESTART_DELAY, undefined, { signal: this.#stopping.signal })
      await this.start()
    } catch {
      // Stopped, or exited again, in which case this runs again.
    }
  }
}
