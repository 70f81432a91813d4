import { mkdirSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'
import type { Test } from 'tap'
import { FLAGS } from '../setup/chromium.ts'
import { absent, CHROMIUM, need } from '../setup/programs.ts'

export const SCREENSHOTS = '.tap/screenshots'
const DESK = { width: 1200, height: 900 }

/** Runs tests in Chromium. They are skipped where it is not installed. */
export function inBrowser (t: Test, tests: (t: Test, browser: Browser) => void): void {
  t.test('in a real browser', { skip: absent(CHROMIUM), jobs: 4 }, async t => {
    mkdirSync(SCREENSHOTS, { recursive: true })
    const browser = await chromium.launch({ executablePath: need(CHROMIUM), args: FLAGS })
    t.teardown(() => browser.close())
    tests(t, browser)
  })
}

/** A server, and the requests that it received. */
export class Site {
  readonly app: FastifyInstance
  readonly requests: Array<{ request: IncomingMessage, response: ServerResponse }> = []

  constructor (app: FastifyInstance) {
    this.app = app
    app.server.on('request', (request, response) => { this.requests.push({ request, response }) })
  }

  static async start (t: Test, app: FastifyInstance): Promise<Site> {
    const site = new Site(app)
    t.teardown(() => app.close())
    await app.listen({ host: '127.0.0.1', port: 0 })
    return site
  }

  get url (): string { return `http://127.0.0.1:${(this.app.server.address() as AddressInfo).port}` }

  /** Returns the GET requests for a path, with their responses. */
  gets (path: string): Array<{ request: IncomingMessage, response: ServerResponse }> {
    return this.requests.filter(({ request }) => request.method === 'GET' && request.url === path)
  }
}

/** A browser window with its own storage and connections. */
export async function windowOf (t: Test, browser: Browser): Promise<BrowserContext> {
  const context = await browser.newContext({ viewport: DESK })
  t.teardown(() => context.close())
  return context
}

/** Opens a tab. An error in its script fails the test. */
export async function tabOf (t: Test, context: BrowserContext, url: string): Promise<Page> {
  const page = await context.newPage()
  page.setDefaultTimeout(60_000)
  page.on('pageerror', error => t.fail(error.message))
  await page.goto(url)
  return page
}

export const state = (page: Page, name: string) => page.locator(`#state[data-state=${name}]`).waitFor()

/** Waits until a number on the page is at least this one. */
export const reaches = (page: Page, id: string, number: number) =>
  page.waitForFunction(([id, number]) => Number(document.getElementById(id)?.textContent) >= number,
    [id, number] as const)

/** Waits until an element has exactly this text. */
export const reads = (page: Page, id: string, text: string) =>
  page.waitForFunction(([id, text]) => document.getElementById(id)?.textContent === text, [id, text] as const)

/** Takes screenshots for people, and checks that the page fits a phone. */
export async function shoot (t: Test, page: Page, name: string): Promise<void> {
  const picture = (kind: string) => page.screenshot({ path: `${SCREENSHOTS}/${name}${kind}.png`, fullPage: true })
  await picture('')
  await page.emulateMedia({ colorScheme: 'dark' })
  await picture('-dark')
  await page.emulateMedia({ colorScheme: 'light' })
  await page.setViewportSize({ width: 390, height: 844 })
  await picture('-phone')
  t.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390, 'nothing overflows on a phone')
  await page.setViewportSize(DESK)
}
