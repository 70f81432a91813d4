import { Page, type Owner } from './engine.ts'

/** Sends a WebDriver command. All but `open` and `switchTo` apply to the current window. */
export interface Driver {
  /** Opens a tab, which does not become the current one. Returns its handle. */
  open: () => Promise<string>
  switchTo: (handle: string) => Promise<unknown>
  navigate: (url: string) => Promise<unknown>
  /** Runs the body of a function, whose last argument receives the result. */
  execute: (body: string) => Promise<unknown>
  close: () => Promise<unknown>
}

/** The tabs of a browser with one current window: their commands run one after the other. */
export class Windows {
  readonly #driver: Driver
  /** The initial window of the browser. It stays, and is no page of a test. */
  readonly #first: string
  #last: Promise<unknown> = Promise.resolve()

  constructor (driver: Driver, first: string) {
    this.#driver = driver
    this.#first = first
  }

  async open (t: Owner, url: string): Promise<Page> {
    const handle = await this.#turn(async () => {
      // The current window may be closed by now.
      await this.#driver.switchTo(this.#first)
      return this.#driver.open()
    })
    const page = new Window(this.#driver, work => this.#turn(async () => {
      await this.#driver.switchTo(handle)
      return work()
    }))
    t.teardown(() => page.close())
    await page.goto(url)
    return page
  }

  #turn<T> (work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => {})
    return turn
  }
}

class Window extends Page {
  readonly #driver: Driver
  /** Makes a window current for one command. */
  readonly #current: <T>(work: () => Promise<T>) => Promise<T>
  #closed = false

  constructor (driver: Driver, current: <T>(work: () => Promise<T>) => Promise<T>) {
    super()
    this.#driver = driver
    this.#current = current
  }

  async goto (url: string): Promise<void> { await this.#current(() => this.#driver.navigate(url)) }

  async close (): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#current(() => this.#driver.close())
  }

  protected async run (script: string): Promise<string | null> {
    // In the realm of the page: its globals live as long as the page.
    const body = `const done = arguments[arguments.length - 1]
      window.eval(${JSON.stringify(script)}).then(text => done({ text }), error => done({ error: String(error) }))`
    const { text, error } = await this.#current(() => this.#driver.execute(body)) as {
      text?: string | null
      error?: string
    }
    if (error !== undefined) throw new Error(error)
    return text ?? null
  }
}
