import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type Channel } from '../../lib/index.ts'
import { serveClient } from '../setup/bundle.ts'
import { inEachEngine } from '../setup/engines/each.ts'
import { PATIENCE, type Engine, type Page } from '../setup/engines/engine.ts'
import { listen } from '../setup/listen.ts'
import { until } from '../setup/until.ts'

t.setTimeout(300_000)

declare global {
  interface Window {
    seen: { numbers: number[], state: string, requests: number, closed: string, leave: () => void }
  }
}

/** A server with a channel of increasing numbers, and the requests that it received. */
class Site {
  readonly app: FastifyInstance = Fastify({ forceCloseConnections: true })
  /** The newest number. */
  newest = 0
  /** The positions in the requests. */
  readonly requests: string[] = []
  /** How many streams are open. */
  open = 0
  port!: number
  #numbers!: Channel
  #timer: NodeJS.Timeout | undefined

  static async start (t: Test): Promise<Site> {
    const site = new Site()
    const { app } = site
    await app.register(sse, { retry: 50 })
    const numbers = site.#numbers = app.sse.channel('numbers', { history: { maxEvents: 100_000 } })
    app.get('/numbers', (request, reply) => {
      site.requests.push(String(request.headers['last-event-id'] ?? ''))
      site.open++
      reply.raw.on('close', () => { site.open-- })
      return reply.sse(numbers)
    })
    await serveClient(app)
    app.get('/elsewhere',
      (_request, reply) =>
        reply.type('text/html').send('<!doctype html><link rel="icon" href="data:,"><title>Elsewhere</title>'))
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

/** A page that shares the stream of numbers. */
class Tab {
  readonly page: Page
  readonly #site: Site
  /** Its first number is greater than the first bound, and not greater than the second. */
  readonly from: number
  #live = Infinity

  private constructor (page: Page, site: Site, from: number) {
    this.page = page
    this.#site = site
    this.from = from
  }

  /** `others` have joined already. */
  static async open (t: Test, engine: Engine, site: Site, others: readonly Tab[]): Promise<Tab> {
    const page = await engine.open(t, `http://127.0.0.1:${site.port}/`)
    // The leader, or a follower that leads next, sends the numbers that this tab has not received.
    const received = await Promise.all(others.map(async tab => (await tab.seen()).numbers.at(-1) ?? tab.from))
    const tab = new Tab(page, site, Math.min(site.newest, ...received))
    await page.evaluate(async () => {
      const path = '/client.js'
      const { connect } = await import(path) as typeof import('../../lib/client.ts')
      const seen = window.seen = {
        numbers: [] as number[],
        state: '',
        requests: 0,
        closed: '',
        leave: () => stream.close()
      }
      const stream = connect('/numbers', {
        share: true,
        retryDelay: 50,
        // The leader requests them.
        fetch: (url, init) => {
          seen.requests++
          return fetch(url, init)
        },
        onStateChange: state => { seen.state = state }
      })
      stream.on('message', ({ data }) => { seen.numbers.push(Number(data)) })
      stream.closed.then(({ reason, error }) => { seen.closed = error?.message ?? reason })
    })
    return tab
  }

  async isLive (): Promise<this> {
    await this.page.until('a live tab', () => window.seen.state === 'live')
    this.#live = Math.min(this.#live, this.#site.newest)
    return this
  }

  async reaches (number: number): Promise<void> {
    await this.page.until(`number ${number}`, number => window.seen.numbers.at(-1)! >= number, number)
  }

  async seen (): Promise<Omit<Window['seen'], 'leave'>> { return this.page.evaluate(() => window.seen) }

  /** Checks each number from its join to `newest`: once and in order. */
  async check (t: Test, newest: number): Promise<void> {
    await this.reaches(newest)
    const { numbers } = await this.seen()
    const first = numbers[0]!
    t.ok(first > this.from && first <= this.#live + 1,
      `from its join on: ${first} after ${this.from} and not after ${this.#live + 1}`)
    t.strictSame(numbers, Array.from({ length: newest - first + 1 }, (_, n) => first + n))
  }
}

/** Returns the tab that has the connection. */
async function leaderOf (tabs: readonly Tab[]): Promise<Tab> {
  let leader: Tab | undefined
  await until('one leads', async () => {
    const requests = await Promise.all(tabs.map(async tab => (await tab.seen()).requests))
    leader = tabs[requests.findIndex(times => times > 0)]
    return leader !== undefined
  }, PATIENCE)
  return leader!
}

/** The ways in which a tab ends. */
const ENDS: ReadonlyArray<readonly [how: string, end: (page: Page) => Promise<unknown>]> = [
  ['is closed', page => page.close()],
  // If the engine cannot crash a tab, the tab is closed again.
  ['crashes', page => (page.crash ?? (() => page.close()))()],
  ['is navigated away', page => page.goto('about:blank')],
  ['is left by a link', page => page.follow('/elsewhere')],
  ['closes its stream', page => page.evaluate(() => window.seen.leave())]
]

// Each engine alone: a crash, or a wait for a lock, concerns all pages of an origin.
inEachEngine(t, 1, (t, engine) => {
  t.test('ten tabs use one connection, and when its tab ends, nothing is lost or duplicated', async t => {
    const site = await Site.start(t)
    site.run()
    const tabs = await Promise.all(Array.from({ length: 10 }, () => Tab.open(t, engine, site, [])))
    for (const tab of tabs) await tab.isLive()
    t.equal(site.open, 1, 'one stream')
    t.equal(site.requests.length, 1, 'requested once')

    for (const [how, end] of [...ENDS, ...ENDS.slice(0, 2)]) {
      const leader = await leaderOf(tabs)
      tabs.splice(tabs.indexOf(leader), 1)
      const before = site.requests.length
      await end(leader.page)
      await leaderOf(tabs)
      const { newest } = site
      for (const tab of tabs) await tab.reaches(newest)
      await until(`one stream after the leader ${how}`, () => site.open === 1, PATIENCE)
      t.equal(site.requests.length, before + 1, `the leader ${how}: one other tab requests the stream`)
      t.not(site.requests.at(-1), '', 'after the last event')
    }

    const late = await (await Tab.open(t, engine, site, tabs)).isLive()
    tabs.push(late)
    t.equal((await late.seen()).requests, 0)
    t.equal(site.open, 1)
    await tabs[0]!.reaches(site.newest + 20)
    site.stop()
    for (const tab of tabs) await tab.check(t, site.newest)
    t.equal(site.requests.length, 1 + ENDS.length + 2)

    await Promise.all(tabs.map(tab => tab.page.close()))
    await until('no stream is left', () => site.open === 0, PATIENCE)
  })

  t.test('a tab rejoins after its user has followed a link and returned', async t => {
    const site = await Site.start(t)
    site.run()
    const first = await (await Tab.open(t, engine, site, [])).isLive()
    const second = await (await Tab.open(t, engine, site, [first])).isLive()
    await first.reaches(site.newest)
    await first.page.follow('/elsewhere')
    await leaderOf([second])
    await second.reaches(site.newest)
    const left = site.newest
    await first.page.back('/')
    // If the engine does not keep the page for the return, it is a new page without our script.
    const kept = await first.page.evaluate(() => window.seen !== undefined)
    t.comment(`${engine.name} ${kept ? 'kept the page' : 'loaded the page anew'}`)
    if (kept) {
      await first.reaches(site.newest + 20)
      const { numbers } = await first.seen()
      t.strictSame(numbers, [...new Set(numbers)].sort((a, b) => a - b), 'each number once and in order')
      const after = numbers.filter(number => number > left + 1)
      t.strictSame(after, Array.from({ length: after.length }, (_, n) => after[0]! + n), 'and from its return on, each')
    }
    await until('one stream is open', () => site.open === 1, PATIENCE)
    site.stop()
    await second.check(t, site.newest)
  })

  t.test('tabs that open and close all the time lose nothing', async t => {
    const site = await Site.start(t)
    site.run()
    const watcher = await (await Tab.open(t, engine, site, [])).isLive()
    const tabs = [watcher]
    for (let n = 0; n < 5; n++) {
      // They open while the leader closes.
      const leader = await leaderOf(tabs)
      const others = tabs.filter(tab => tabs.length === 1 || tab !== leader)
      const opening = [Tab.open(t, engine, site, others), Tab.open(t, engine, site, others)]
      if (tabs.length > 1) {
        tabs.splice(tabs.indexOf(leader), 1)
        await leader.page.close()
      }
      for (const tab of await Promise.all(opening)) tabs.push(await tab.isLive())
    }
    await tabs[0]!.reaches(site.newest + 20)
    site.stop()
    for (const tab of tabs) await tab.check(t, site.newest)
    // The server can hear of the closed tab after the next leader has its stream.
    await until('one stream is open', () => site.open === 1, PATIENCE)
  })

  t.test('the end of the stream ends it for all tabs', async t => {
    const site = await Site.start(t)
    const tabs = await Promise.all(Array.from({ length: 5 }, () => Tab.open(t, engine, site, [])))
    for (const tab of tabs) await tab.isLive()
    site.run()
    for (const tab of tabs) await tab.reaches(10)
    site.stop()
    await site.end()
    for (const tab of tabs) {
      await tab.page.until('the end', () => window.seen.closed !== '')
      const { closed, numbers } = await tab.seen()
      t.equal(closed, 'complete')
      t.equal(numbers.at(-1), site.newest)
    }
    t.equal(site.requests.length, 2, 'one tab reconnects once, for all')
    await until('no stream is left', () => site.open === 0, PATIENCE)
  })
})
