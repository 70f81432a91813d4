import { chromium, type BrowserContext, type Page as PlaywrightPage } from 'playwright-core'
import { FLAGS } from '../chromium.ts'
import { CHROMIUM, need } from '../programs.ts'
import { Page, PATIENCE, type Engine, type Owner } from './engine.ts'

const DESK = { width: 1200, height: 900 }

/** Chromium, driven by its DevTools protocol. */
export class Chromium implements Engine {
  readonly name = 'Chromium'
  readonly #context: BrowserContext

  private constructor (context: BrowserContext) {
    this.#context = context
  }

  static async start (t: Owner): Promise<Chromium> {
    // The back/forward cache is on, as for users.
    const ignoreDefaultArgs = ['--disable-back-forward-cache']
    const browser = await chromium.launch({ executablePath: need(CHROMIUM), args: FLAGS, ignoreDefaultArgs })
    t.teardown(() => browser.close())
    return new Chromium(await browser.newContext({ viewport: DESK, ignoreHTTPSErrors: true }))
  }

  /** An error in a script of the page fails the test. */
  async open (t: Owner, url: string): Promise<ChromiumPage> {
    const page = new ChromiumPage(await this.#context.newPage())
    t.teardown(() => page.close())
    page.playwright.on('pageerror', error => t.fail(error.message))
    await page.goto(url)
    return page
  }
}

export class ChromiumPage extends Page {
  /** For screenshots. */
  readonly playwright: PlaywrightPage

  constructor (page: PlaywrightPage) {
    super()
    this.playwright = page
    page.setDefaultTimeout(PATIENCE)
  }

  async goto (url: string): Promise<void> { await this.playwright.goto(url) }

  close (): Promise<void> { return this.playwright.close() }

  override readonly crash = async (): Promise<void> => {
    const crashed = this.playwright.waitForEvent('crash')
    const devtools = await this.playwright.context().newCDPSession(this.playwright)
    devtools.send('Page.crash').catch(() => {})
    await crashed
  }

  protected run (script: string): Promise<string | undefined> { return this.playwright.evaluate(script) }

  /** Takes screenshots for people. Returns the width of the page on a phone that is 390 wide. */
  async shoot (file: string): Promise<number> {
    const page = this.playwright
    const picture = (kind: string) => page.screenshot({ path: `${file}${kind}.png`, fullPage: true })
    await picture('')
    await page.emulateMedia({ colorScheme: 'dark' })
    await picture('-dark')
    await page.emulateMedia({ colorScheme: 'light' })
    await page.setViewportSize({ width: 390, height: 844 })
    await picture('-phone')
    const width = await this.evaluate(() => document.documentElement.scrollWidth)
    await page.setViewportSize(DESK)
    return width
  }
}
