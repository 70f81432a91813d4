import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { Market, type Quote } from '../../example/board/market.ts'
import board from '../../example/board/server.ts'
import { page as servePage } from '../../example/page.ts'
import { open } from '../setup/raw.ts'
import { inBrowser, reaches, shoot, Site, state, tabOf, windowOf } from './browser.ts'
import { Reading } from './reading.ts'

t.setTimeout(300_000)

const RETRY = 50

/** A market that changes only when the test sets a quote. */
class StillMarket extends Market {
  override open (): void {}
}

async function start (t: Test, market: Market): Promise<Site> {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse, { retry: RETRY })
  await app.register(board, { market })
  servePage(app, '/page.css', new URL('../../example/page.css', import.meta.url))
  return Site.start(t, app)
}

const tin = (price: number): Quote => ({ symbol: 'Tin', group: 'metals', price, change: 1 })
const rice = (price: number): Quote => ({ symbol: 'Rice', group: 'food', price, change: -1 })

const HEAD = `retry: ${RETRY}\n\n`
const frame = (quote: Quote, offset?: number): string =>
  `event: quote\n${offset === undefined ? '' : `id: ${offset}\n`}data: ${JSON.stringify(quote)}\n\n`
/** The frames of all quotes. The last one has the id of the snapshot's position. */
const snapshot = (quotes: Quote[], offset: number): string =>
  quotes.map((quote, index) => frame(quote, index === quotes.length - 1 ? offset : undefined)).join('')

t.test('a client that joins receives all current quotes, then each change', async t => {
  const market = new StillMarket()
  const site = await start(t, market)
  market.set(tin(1))
  market.set(tin(2))
  const reading = await Reading.open(t, `${site.url}/board/events`)
  t.equal(reading.response.headers.get('content-type'), 'text/event-stream; charset=utf-8')
  t.equal(await reading.frames(13), HEAD + snapshot([...market.quotes.values()], 2))
  market.set(tin(3))
  market.set(rice(1))
  t.equal(await reading.frames(2), frame(tin(3), 3) + frame(rice(1), 4))
})

t.test('a change while many clients join is in the snapshot or after it, never in both or in neither', async t => {
  const market = new StillMarket()
  const site = await start(t, market)
  let price = 0
  market.set(tin(price))
  const moving = setInterval(() => market.set(tin(++price)), 1)
  t.teardown(() => clearInterval(moving))
  const seen = await Promise.all(Array.from({ length: 50 }, async () => {
    const wire = await (await Reading.open(t, `${site.url}/board/events`)).frames(13 + 20)
    return Array.from(wire.matchAll(/"Tin","group":"metals","price":(\d+)/g), match => Number(match[1]))
  }))
  for (const [first, ...live] of seen) t.strictSame(live, live.map((_, index) => first! + index + 1), `after ${first}`)
})

t.test('a filter applies to the snapshot and to live events, and the position moves past events that it excludes', async t => {
  const market = new StillMarket()
  const site = await start(t, market)
  const foods = [...market.quotes.values()].filter(quote => quote.group === 'food')
  const reading = await Reading.open(t, `${site.url}/board/events?group=food`)
  t.equal(await reading.frames(5), HEAD + snapshot(foods, 0))
  market.set(tin(1))
  market.set(rice(1))
  t.equal(await reading.frames(2), `event: sse.position\nid: 1\ndata: \n\n${frame(rice(1), 2)}`)
})

t.test('a reconnecting client receives the quotes that it missed, or is reset to the state', async t => {
  const market = new StillMarket()
  const site = await start(t, market)
  const reading = await Reading.open(t, `${site.url}/board/events`)
  await reading.frames(13)
  for (const quote of [tin(1), rice(1), tin(2)]) market.set(quote)
  const { epoch } = reading
  const back = await Reading.open(t, `${site.url}/board/events`, `${epoch}-1`)
  t.equal(await back.frames(4), `${HEAD}event: sse.position\nid: 1\ndata: \n\n${frame(rice(1), 2)}${frame(tin(2), 3)}`)
  for (let price = 3; price < 2000; price++) market.set(tin(price))
  const rows = [
    { lastEventId: `${epoch}-1`, reason: 'evicted' },
    { lastEventId: 'another-1', reason: 'unknown' },
    { lastEventId: `${epoch}-2001`, reason: 'ahead' },
    { lastEventId: 'nothing of ours', reason: 'malformed' }
  ]
  for (const { lastEventId, reason } of rows) {
    const reset = await Reading.open(t, `${site.url}/board/events`, lastEventId)
    const expected = `${HEAD}event: sse.reset\ndata: {"reason":"${reason}","oldest":1001,"newest":2000}\n\n${
      snapshot([...market.quotes.values()], 2000)
    }`
    t.equal(await reset.frames(14), expected, reason)
  }
})

t.test('a client that fell behind gets a gap, all quotes again, and the changes after them', async t => {
  const market = new StillMarket()
  const site = await start(t, market)
  const client = await open(Number(new URL(site.url).port), { path: '/board/events' })
  t.teardown(() => client.socket.destroy())
  await client.until('"Power"')
  client.pause()
  // More than the buffers of a connection hold.
  for (let price = 1; price <= 150_000; price++) {
    market.set(tin(price))
    if (price % 500 === 0) await turn()
  }
  client.resume()
  await client.until('event: sse.gap')
  await client.until('"price":150000,')
  market.set(rice(1))
  await client.until('"Rice","group":"food","price":1,')
  const [before, gap, after] = client.responses()[0]!.body.split(/event: sse\.gap\ndata: \{"dropped":(\d+)\}\n\n/)
  const received = before!.match(/"Tin"/g)!.length - 1
  t.equal(received + Number(gap), 150_000)
  t.match(after!.replaceAll(/^id: \w+-/gm, 'id: '), snapshot([...market.quotes.values()].map(quote =>
    quote.symbol === 'Rice' ? { symbol: 'Rice', group: 'food', price: 318, change: 0 } : quote
  ), 150_000) + frame(rice(1), 150_001))
})

t.test('a group that does not exist is rejected', async t => {
  const site = await start(t, new StillMarket())
  t.equal((await fetch(`${site.url}/board/events?group=tulips`)).status, 400)
})

t.test('the market changes by itself, and stops when the server closes', async t => {
  const market = new Market()
  const app = Fastify()
  await app.register(sse)
  await app.register(board, { market })
  await app.ready()
  const [quote] = await once(market, 'quote') as [Quote]
  t.strictSame(market.quotes.get(quote.symbol), quote)
  await app.close()
  market.on('quote', () => t.fail('it moves on'))
  await new Promise(resolve => setTimeout(resolve, 300))
})

inBrowser(t, (t, browser) => {
  const cell = (page: Page, symbol: string, column: string): Promise<string> =>
    page.locator(`#board tr:has(th:text-is("${symbol}")) ${column}`).innerText()
  const prices = (page: Page): Promise<string[]> => page.locator('#board tr').allInnerTexts()
  /** Waits until the page shows a price. */
  const shows = (page: Page, symbol: string, price: string) =>
    page.locator(`#board tr:has(th:text-is("${symbol}")) td:text-is("${price}")`).waitFor()

  t.test('many tabs show the same, each from the start', async t => {
    const market = new StillMarket()
    const site = await start(t, market)
    const context = await windowOf(t, browser)
    const tabs: Page[] = []
    // A browser opens six connections to one host: five streams leave one for the pages.
    for (let n = 1; n <= 5; n++) {
      market.set(tin(n))
      const tab = await tabOf(t, context, `${site.url}/board`)
      await shows(tab, 'Tin', `${n}.00`)
      tabs.push(tab)
    }
    market.set(rice(7.5))
    for (const tab of tabs) {
      await shows(tab, 'Rice', '7.50')
      t.strictSame(await prices(tab), await prices(tabs[0]!))
      t.equal(await tab.locator('#board tr').count(), 12)
      t.equal(await cell(tab, 'Tin', 'td >> nth=0'), '5.00')
      t.equal(await cell(tab, 'Rice', 'td >> nth=1'), '−1.00 %')
    }
  })

  t.test('after a broken connection, EventSource reconnects and receives the missed quotes or the state', async t => {
    const market = new StillMarket()
    const site = await start(t, market)
    const page = await tabOf(t, await windowOf(t, browser), `${site.url}/board`)
    await reaches(page, 'quotes', 12)
    site.gets('/board/events').at(-1)!.response.socket!.destroy()
    market.set(tin(1))
    market.set(rice(1))
    await shows(page, 'Rice', '1.00')
    t.equal(await cell(page, 'Tin', 'td >> nth=0'), '1.00')
    t.equal(await page.locator('#quotes').textContent(), '14', 'the two that it missed')

    site.gets('/board/events').at(-1)!.response.socket!.destroy()
    for (let price = 1; price <= 1500; price++) market.set(tin(price))
    await reaches(page, 'quotes', 26)
    t.equal(await page.locator('#quotes').textContent(), '26', 'the state: more was missed than is kept')
    t.equal(await cell(page, 'Tin', 'td >> nth=0'), '1,500.00')
    t.equal(await page.locator('#reconnects').textContent(), '2')
    t.equal(await page.locator('#board tr').count(), 12)
  })

  t.test('a page that fell behind shows the state that follows the gap', async t => {
    const market = new StillMarket()
    const site = await start(t, market)
    const page = await tabOf(t, await windowOf(t, browser), 'about:blank')
    const body = [
      frame(tin(1), 1),
      'event: sse.gap\ndata: {"dropped":7}\n\n',
      frame(rice(3)),
      frame(tin(9), 8)
    ].join('')
    await page.route('**/board/events', route => route.fulfill({ contentType: 'text/event-stream', body }))
    await page.goto(`${site.url}/board`)
    await shows(page, 'Tin', '9.00')
    await shows(page, 'Rice', '3.00')
    await page.unrouteAll({ behavior: 'ignoreErrors' })
    t.not(await page.locator('#gaps').textContent(), '0')
  })

  t.test('a hidden tab closes its connection, and receives the state when it is visible again', async t => {
    const market = new StillMarket()
    const site = await start(t, market)
    const page = await tabOf(t, await windowOf(t, browser), `${site.url}/board`)
    await reaches(page, 'quotes', 12)
    const hide = (hidden: boolean): Promise<void> => page.evaluate(hidden => {
      Object.defineProperty(document, 'hidden', { value: hidden, configurable: true })
      document.dispatchEvent(new Event('visibilitychange'))
    }, hidden)
    const left = once(site.gets('/board/events')[0]!.response, 'close')
    await hide(true)
    await state(page, 'closed')
    await left
    market.set(tin(1))
    await hide(false)
    await shows(page, 'Tin', '1.00')
    t.equal(site.gets('/board/events').length, 2)
  })

  t.test('the page shows the changes of the market, and a single group', async t => {
    const site = await start(t, new Market())
    const page = await tabOf(t, await windowOf(t, browser), `${site.url}/board`)
    await reaches(page, 'quotes', 30)
    await shoot(t, page, 'board')
    await page.getByRole('link', { name: 'metals' }).click()
    await reaches(page, 'quotes', 6)
    t.strictSame(await page.locator('#board th').allInnerTexts(), ['Copper', 'Gold', 'Tin', 'Zinc'])
    await shoot(t, page, 'board-metals')
  })
})
