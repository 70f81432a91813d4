import { setTimeout as pause } from 'node:timers/promises'
import { within } from '../within.ts'

/** The time limit for each operation in an engine, in milliseconds, on a busy machine. */
export const PATIENCE = 60_000

/** The test that an engine or a page belongs to. */
export interface Owner {
  teardown: (fn: () => unknown) => unknown
  fail: (message: string) => unknown
}

/** A browser. All its pages share storage, locks and broadcast channels per origin, so each server has its own port. */
export interface Engine {
  readonly name: string
  /** Opens a tab with this address. It is closed after the test. */
  open: (t: Owner, url: string) => Promise<Page>
}

/** A tab. Functions run with its globals and their arguments only; arguments and results are JSON. */
export abstract class Page {
  /** Resolves when the document is loaded. */
  abstract goto (url: string): Promise<void>
  abstract close (): Promise<void>
  /** Ends the process of the page, if the engine supports it. */
  readonly crash: (() => Promise<void>) | undefined
  /** Runs a script, an expression whose promise resolves to a text or to undefined. */
  protected abstract run (script: string): Promise<string | null | undefined>

  /** A long-running function blocks other pages of the same engine: wait with `until`. */
  async evaluate<A extends readonly unknown[], R> (fn: (...args: A) => R | Promise<R>, ...args: A): Promise<R> {
    // Some compilers wrap named functions in a call of `__name`.
    const script = `(async __name => JSON.stringify(await (${fn})(...${JSON.stringify(args)})))(fn => fn)`
    const text = await within(`an answer of the page to ${fn}`, this.run(script), PATIENCE)
    return (typeof text === 'string' ? JSON.parse(text) : undefined) as R
  }

  /** Waits until the function returns a truthy value. Between two documents a page does not answer. */
  async until<A extends readonly unknown[]> (what: string, fn: (...args: A) => unknown, ...args: A): Promise<void> {
    const deadline = performance.now() + PATIENCE
    for (;;) {
      let answer: unknown
      try {
        if (await this.evaluate((fn as (...args: A) => Promise<unknown>), ...args)) return
      } catch (error) {
        answer = error
      }
      if (performance.now() > deadline) throw new Error(`${what}: not within ${PATIENCE} ms`, { cause: answer })
      await pause(20)
    }
  }

  /** Navigates by a link to the same origin, as a user does: the page may be kept in the back/forward cache. */
  async follow (path: string): Promise<void> {
    await this.evaluate(path => {
      const link = document.createElement('a')
      link.href = path
      document.body.append(link)
      link.click()
    }, path)
    await this.#arrives(path)
  }

  /** Returns to the previous page, at this path. */
  async back (path: string): Promise<void> {
    await this.evaluate(() => { setTimeout(() => history.back()) })
    await this.#arrives(path)
  }

  #arrives (path: string): Promise<void> {
    return this.until(`the page at ${path}`, path => location.pathname === path && document.readyState === 'complete',
      path)
  }
}
