import Fastify, { type FastifyInstance } from 'fastify'
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import sse, { type Channel } from '../../lib/index.ts'
import { serveClient } from '../setup/bundle.ts'
import { FLAGS } from '../setup/chromium.ts'
import { listen } from '../setup/listen.ts'
import { absent, CHROMIUM, need } from '../setup/programs.ts'
import { until } from '../setup/until.ts'

t.setTimeout(180_000)

const PATIENCE = 30_000

declare global {
  interface Window {
    seen: { numbers: number[], state: string, asked: number, closed: string, leave: () => void }
  }
}

/** A server with a channel, which publishes number after number, and what was asked of it. */
class Site {
  readonly app: FastifyInstance = Fastify({ forceCloseConnections: true })
  /** The newest number. */
  newest = 0
  /** The positions that streams were asked for. */
  readonly asked: string[] = []
  /** How many streams are open. */
  open = 0
  port!: number
  #numbers!: Channel
  #timer: NodeJS.Timeout | undefined

  static async start (t: Test): Promise<Site> {
    const site = new Site()
    const { app } = site
    await app.register(sse, { retry: 50 })
    const numbers = site.#numbers = app.sse.channel('numbers', { history: { events: 100_000 } })
    app.get('/numbers', (request, reply) => {
      site.asked.push(String(request.headers['last-event-id'] ?? ''))
      site.open++
      reply.raw.on('close', () => { site.open-- })
      return reply.sse(numbers)
    })
    await serveClient(app)
    t.teardown(() => site.stop())
    site.port = await listen(t, app)
    return site
  }

  /** Publishes from now on. */
  run (): void {
    this.#timer = setInterval(() => { this.#numbers.publish({ data: ++this.newest }) }, 5)
  }

  stop (): void { clearInterval(this.#timer) }

  async end (): Promise<void> { await this.#numbers.end() }
}

/** A page that shares the stream of numbers, and how many there were when it opened and when it was live. */
class Tab {
  readonly page: Page
  readonly #site: Site
  readonly opened: number
  live = Infinity

  private constructor (page: Page, site: Site) {
    this.page = page
    this.#site = site
    this.opened = site.newest
  }

  static async open (t: Test, context: BrowserContext, site: Site): Promise<Tab> {
    const page = await context.newPage()
    page.setDefaultTimeout(PATIENCE)
    page.on('pageerror', error => t.fail(error.message))
    await page.goto(`http://127.0.0.1:${site.port}/`)
    const tab = new Tab(page, site)
    await page.evaluate(async () => {
      const path = '/client.js'
      const { connect } = await import(path) as typeof import('../../lib/client.ts')
      const seen = window.seen = { numbers: [] as number[], state: '', asked: 0, closed: '', leave: () => stream.close() }
      const stream = connect('/numbers', {
        share: true,
        retryDelay: 50,
        // The one that leads asks.
        fetch: (url, init) => {
          seen.asked++
          return fetch(url, init)
        },
        onState: state => { seen.state = state }
      })
      stream.on('message', ({ data }) => { seen.numbers.push(Number(data)) })
      stream.closed.then(({ reason, error }) => { seen.closed = error?.message ?? reason })
    })
    return tab
  }

  async isLive (): Promise<this> {
    await this.page.waitForFunction(() => window.seen.state === 'live')
    this.live = Math.min(this.live, this.#site.newest)
    return this
  }

  async reaches (number: number): Promise<void> {
    await this.page.waitForFunction(number => window.seen.numbers.at(-1)! >= number, number)
  }

  seen () { return this.page.evaluate(() => ({ ...window.seen, leave: undefined })) }

  /** From its join to `newest`, each number once and in order. */
  async check (t: Test, newest: number): Promise<void> {
    await this.reaches(newest)
    const { numbers } = await this.seen()
    const first = numbers[0]!
    t.ok(first > this.opened && first <= this.live + 1, `from its join on: ${first} after ${this.opened} and not after ${this.live + 1}`)
    t.strictSame(numbers, Array.from({ length: newest - first + 1 }, (_, n) => first + n))
  }
}

/** The one of them that has the connection. */
async function leaderOf (tabs: readonly Tab[]): Promise<Tab> {
  let leader: Tab | undefined
  await until('one leads', async () => {
    const asked = await Promise.all(tabs.map(async tab => (await tab.seen()).asked))
    leader = tabs[asked.findIndex(times => times > 0)]
    return leader !== undefined
  }, PATIENCE)
  return leader!
}

/** How a tab goes. */
const ENDS: Record<string, (tab: Tab) => Promise<unknown>> = {
  'is closed': ({ page }) => page.close(),
  crashes: async ({ page }) => {
    const crashed = page.waitForEvent('crash')
    const devtools = await page.context().newCDPSession(page)
    devtools.send('Page.crash').catch(() => {})
    await crashed
  },
  'goes elsewhere': ({ page }) => page.goto('about:blank'),
  'closes its stream': ({ page }) => page.evaluate(() => window.seen.leave())
}

async function launch (t: Test): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: need(CHROMIUM), args: FLAGS })
  t.teardown(() => browser.close())
  return browser
}

t.test('tabs that share a stream', { skip: absent(CHROMIUM) }, async t => {
  const browser = await launch(t)

  t.test('ten tabs use one connection, and when the one that has it goes, nothing is lost and nothing comes twice', async t => {
    const site = await Site.start(t)
    const context = await browser.newContext()
    t.teardown(() => context.close())
    site.run()
    const tabs = await Promise.all(Array.from({ length: 10 }, () => Tab.open(t, context, site)))
    for (const tab of tabs) await tab.isLive()
    t.equal(site.open, 1, 'one stream')
    t.equal(site.asked.length, 1, 'asked for once')

    for (const [how, end] of [...Object.entries(ENDS), ...Object.entries(ENDS).slice(0, 2)]) {
      const leader = await leaderOf(tabs)
      tabs.splice(tabs.indexOf(leader), 1)
      const before = site.asked.length
      await end(leader)
      await leaderOf(tabs)
      const { newest } = site
      for (const tab of tabs) await tab.reaches(newest)
      await until(`one stream after the leader ${how}`, () => site.open === 1, PATIENCE)
      t.equal(site.asked.length, before + 1, `the leader ${how}: one other asks`)
      t.not(site.asked.at(-1), '', 'for what comes after the last')
    }

    const late = await (await Tab.open(t, context, site)).isLive()
    tabs.push(late)
    t.equal((await late.seen()).asked, 0)
    t.equal(site.open, 1)
    await tabs[0]!.reaches(site.newest + 20)
    site.stop()
    for (const tab of tabs) await tab.check(t, site.newest)

    await Promise.all(tabs.map(tab => tab.page.close()))
    await until('no stream is left', () => site.open === 0, PATIENCE)
    t.equal(site.asked.length, 7)
  })

  t.test('tabs that open and go all the time lose nothing', async t => {
    const site = await Site.start(t)
    const context = await browser.newContext()
    t.teardown(() => context.close())
    site.run()
    const watcher = await (await Tab.open(t, context, site)).isLive()
    const tabs = [watcher]
    for (let n = 0; n < 5; n++) {
      // They come while the leader goes.
      const leader = await leaderOf(tabs)
      const opening = [Tab.open(t, context, site), Tab.open(t, context, site)]
      if (tabs.length > 1) {
        tabs.splice(tabs.indexOf(leader), 1)
        await leader.page.close()
      }
      for (const tab of await Promise.all(opening)) tabs.push(await tab.isLive())
    }
    await tabs[0]!.reaches(site.newest + 20)
    site.stop()
    for (const tab of tabs) await tab.check(t, site.newest)
    t.equal(site.open, 1)
  })

  t.test('the end of the stream is the end for all', async t => {
    const site = await Site.start(t)
    const context = await browser.newContext()
    t.teardown(() => context.close())
    const tabs = await Promise.all(Array.from({ length: 5 }, () => Tab.open(t, context, site)))
    for (const tab of tabs) await tab.isLive()
    site.run()
    for (const tab of tabs) await tab.reaches(10)
    site.stop()
    await site.end()
    for (const { page } of tabs) {
      await page.waitForFunction(() => window.seen.closed !== '')
      const { closed, numbers } = await page.evaluate(() => ({ closed: window.seen.closed, numbers: window.seen.numbers }))
      t.equal(closed, 'complete')
      t.equal(numbers.at(-1), site.newest)
    }
    t.equal(site.asked.length, 2, 'one asks once more, for all')
    await until('no stream is left', () => site.open === 0, PATIENCE)
  })
})
