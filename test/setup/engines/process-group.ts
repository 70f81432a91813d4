import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { Owner } from './engine.ts'

/** A folder for one test, which goes with it, or with this process. */
export function folderOf (t: Owner): string {
  const folder = mkdtempSync(join(tmpdir(), 'engine-'))
  const remove = (): void => {
    process.off('exit', remove)
    rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
  }
  process.once('exit', remove)
  t.teardown(remove)
  return folder
}

/** A program, with all that it starts: the end of its test, or of this process, ends them all. */
export class ProcessGroup {
  readonly #process: ChildProcess

  private constructor (process: ChildProcess) {
    this.#process = process
  }

  static async start (t: Owner, file: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<ProcessGroup> {
    // The fourth is one that it may write to; what it says to people is not for the report of the tests.
    const group = new ProcessGroup(spawn(file, args, { env, detached: true, stdio: ['ignore', 'ignore', 'ignore', 'pipe'] }))
    const kill = (): void => group.#kill()
    process.once('exit', kill)
    t.teardown(async () => {
      process.off('exit', kill)
      const { exitCode, signalCode } = group.#process
      const over = exitCode === null && signalCode === null ? once(group.#process, 'exit') : undefined
      kill()
      await over
    })
    await once(group.#process, 'spawn')
    return group
  }

  get isOver (): boolean { return this.#process.exitCode !== null || this.#process.signalCode !== null }

  /** What it writes to its fourth file. */
  get output (): Readable { return this.#process.stdio[3] as Readable }

  #kill (): void {
    try {
      process.kill(-this.#process.pid!, 'SIGKILL')
    } catch (error) {
      // None of them is left.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}
