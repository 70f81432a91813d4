import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { Owner } from './engine.ts'

/** Runs a function at the end of the test, or of this process, also if a signal ends it. */
function atEnd (t: Owner, work: () => unknown): void {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  const forget = (): void => {
    process.off('exit', work)
    for (const signal of signals) process.off(signal, end)
  }
  const end = (signal: NodeJS.Signals): void => {
    forget()
    work()
    // Another listener may have more to do.
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal)
  }
  process.once('exit', work)
  for (const signal of signals) process.on(signal, end)
  t.teardown(async () => {
    forget()
    await work()
  })
}

/** Creates a folder for one test, removed with it, or with this process. */
export function folderOf (t: Owner): string {
  const folder = mkdtempSync(join(tmpdir(), 'engine-'))
  atEnd(t, () => rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }))
  return folder
}

/** A program with all its child processes. The end of its test, or of this process, ends them all. */
export class ProcessGroup {
  readonly #process: ChildProcess

  private constructor (process: ChildProcess) {
    this.#process = process
  }

  static async start (
    t: Owner,
    file: string,
    args: readonly string[],
    env: NodeJS.ProcessEnv = process.env
  ): Promise<ProcessGroup> {
    // The program may write to the fourth file. Its other output does not belong in the test report.
    const group = new ProcessGroup(
      spawn(file, args, { env, detached: true, stdio: ['ignore', 'ignore', 'ignore', 'pipe'] })
    )
    atEnd(t, () => group.#end())
    await once(group.#process, 'spawn')
    return group
  }

  get isOver (): boolean { return this.#process.exitCode !== null || this.#process.signalCode !== null }

  /** The text that it writes to its fourth file. */
  get output (): Readable { return this.#process.stdio[3] as Readable }

  /** Kills the group at once, and resolves when it has ended. */
  async #end (): Promise<void> {
    const over = this.isOver ? undefined : once(this.#process, 'exit')
    try {
      process.kill(-this.#process.pid!, 'SIGKILL')
    } catch (error) {
      // None of them is left.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
    await over
  }
}
