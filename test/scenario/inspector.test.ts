import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import { chromium, type Browser, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import sse from '../../lib/index.ts'
import inspector from '../../lib/inspector.ts'
import { FLAGS } from '../setup/chromium.ts'
import { absent, CHROMIUM, need } from '../setup/programs.ts'
import { open } from '../setup/raw.ts'
import { until } from '../setup/until.ts'

t.setTimeout(180_000)

const PATIENCE = 60_000
const SCREENSHOTS = '.tap/screenshots'
const STREAMS = 1_000
const HOSTILE = '<img src=x onerror=alert(1)>'

const events = { price: Type.Object({ symbol: Type.String(), bid: Type.Number() }), [HOSTILE]: Type.Any() }

/** A server with a thousand clients, three of which read nothing. */
async function busy (
  t: Test
): Promise<{ app: FastifyInstance, url: string, port: number, permitted: { now: boolean } }> {
  const app = Fastify({ forceCloseConnections: true })
  const sockets: Socket[] = []
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await app.close()
  })
  const permitted = { now: true }
  await app.register(sse, {
    stallTimeout: 0,
    limits: { keyGenerator: request => (request.query as { user?: string }).user }
  })
  await app.register(inspector, { prefix: '/ops/inspector', authorize: () => permitted.now })
  const prices = app.sse.channel('prices', { events })
  app.get('/prices/:symbol', { schema: { sse: events } }, (_request, reply) => reply.sse(prices))
  app.get('/flood', (_request, reply) => reply.sse(async function * () { for (;;) yield { data: 'x'.repeat(65_536) } }))
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const port = Number(new URL(url).port)
  const request = async (path: string): Promise<void> => {
    const socket = connect(port, '127.0.0.1')
    sockets.push(socket)
    socket.on('error', () => {})
    await once(socket, 'connect')
    socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    if (path.startsWith('/flood')) socket.pause()
    else socket.resume()
  }
  for (let n = 0; n < STREAMS - 3; n++) await request(`/prices/S${n % 40}?user=user-${n}&token=secret`)
  for (let n = 0; n < 3; n++) await request('/flood?user=mallory')
  await until('all streams are open', () => app.sse.stats().streams.open === STREAMS)
  await until('three streams are stalled', () => app.sse.stats().streams.stalled === 3)
  let bid = 0
  const publishing = setInterval(() => {
    prices.publish({ event: 'price', data: { symbol: 'ABC', bid: bid++ } })
    if (bid % 10 === 0) prices.publish({ event: HOSTILE, data: { text: '<script>alert(1)</script>' } })
  }, 100)
  t.teardown(() => clearInterval(publishing))
  return { app, url, port, permitted }
}

/** Opens the page. An error in it, or a violation of its security policy, fails the test. */
async function visit (
  t: Test,
  browser: Browser,
  url: string,
  width: number,
  colorScheme: 'light' | 'dark'
): Promise<Page> {
  const page = await browser.newPage({ viewport: { width, height: width < 600 ? 800 : 1_000 }, colorScheme })
  t.teardown(() => page.close())
  page.setDefaultTimeout(PATIENCE)
  page.on('pageerror', error => t.fail(error.message))
  page.on('console', message => t.fail(message.text()))
  page.on('dialog', dialog => t.fail(dialog.message()))
  await page.goto(`${url}/ops/inspector`)
  return page
}

const rows = (page: Page) => page.locator('#streams tbody tr')
const figure = (page: Page, name: string): Promise<string> => page.locator(`[data-figure=${name}] b`).innerText()

t.test('the inspector in a browser, beside a thousand streams', { skip: absent(CHROMIUM) }, async t => {
  mkdirSync(SCREENSHOTS, { recursive: true })
  const { app, url, port, permitted } = await busy(t)
  const browser = await chromium.launch({ executablePath: need(CHROMIUM), args: FLAGS })
  t.teardown(() => browser.close())

  t.test('the page shows 200 streams, the stalled first, and its figures change', async t => {
    const page = await visit(t, browser, url, 1_280, 'light')
    await rows(page).nth(199).waitFor()
    t.equal(await rows(page).count(), 200)
    t.equal(await figure(page, 'open'), '1,000')
    t.match(await page.locator('#streams-count').innerText(), 'the first 200 of 1,000')
    t.strictSame(
      await page.locator('#streams .mark').evaluateAll(marks => marks.slice(0, 4).map(mark => mark.textContent)),
      ['stalled', 'stalled', 'stalled', 'live']
    )
    t.notMatch(await page.content(), 'secret', 'no query is shown')
    const cell = rows(page).nth(10).locator('[data-label=Events]')
    const before = await cell.innerText()
    await page.waitForFunction(
      ([before]) =>
        document.querySelectorAll('#streams tbody tr')[10]!.querySelector('[data-label=Events]')!.textContent !==
          before,
      [before]
    )
    await page.waitForFunction(() => document.querySelector('[data-figure=published] b')!.textContent !== '0')
    t.equal(await page.evaluate(() => document.documentElement.scrollWidth), 1_280)
    await page.screenshot({ path: `${SCREENSHOTS}/inspector.png` })
  })

  t.test('a filter finds one of all streams', async t => {
    const page = await visit(t, browser, url, 1_280, 'dark')
    await rows(page).nth(199).waitFor()
    await page.locator('#filter').fill('USER-777')
    await page.waitForFunction(() => document.querySelectorAll('#streams tbody tr').length === 1)
    t.equal(await rows(page).first().locator('.key').innerText(), 'user-777')
    t.equal(await page.locator('#streams-count').innerText(), '1 matching, 1,000 in total')
    await page.screenshot({ path: `${SCREENSHOTS}/inspector-dark.png` })
  })

  t.test('a stream is ended after confirmation, and its client receives the reason', async t => {
    const page = await visit(t, browser, url, 1_280, 'light')
    const client = await open(port, { path: '/prices/ABC?user=eve' })
    await client.until('\r\n\r\n')
    await page.locator('#filter').fill('eve')
    const button = page.getByRole('button', { name: /^End stream \d+: GET \/prices\/:symbol, key eve$/ })
    await button.click()
    await page.getByRole('button', { name: 'Cancel' }).click()
    await page.locator('dialog[open]').waitFor({ state: 'detached' })
    t.equal(app.sse.stats().streams.closed.revoked, 0)
    await button.click()
    await page.screenshot({ path: `${SCREENSHOTS}/inspector-ending.png` })
    await page.getByLabel('Message to the client').fill('too loud')
    await page.getByRole('button', { name: 'End stream', exact: true }).click()
    t.match(await client.until('"detail":"The stream was ended: too loud"}\n\n'),
      'event: error\ndata: {"type":"about:blank","title":"Forbidden","status":403')
    await page.getByText('Ended GET /prices/:symbol, key eve.').waitFor()
    await page.waitForFunction(() => document.querySelectorAll('#streams tbody tr').length === 0)
    t.equal(await page.locator('#streams-empty').innerText(), 'No matching streams.')
    client.fin()
  })

  t.test('the tail of a channel shows its events as text, not as markup', async t => {
    const page = await visit(t, browser, url, 1_280, 'light')
    await page.getByRole('button', { name: 'prices', exact: true }).click()
    await page.locator('#tail li').nth(20).waitFor()
    const hostile = page.locator('#tail li', { hasText: HOSTILE }).first()
    await hostile.waitFor()
    t.equal(await hostile.locator('pre').innerText(), '{"text":"<script>alert(1)</script>"}')
    t.match(await hostile.locator('code').innerText(), /^\w+-\d+$/)
    t.equal(await page.locator('#tail img, #tail script').count(), 0)
    // Its own subscribers are not counted, once the streams of the earlier tests are closed.
    await page.waitForFunction(
      count => document.querySelector('#channels [data-label=Subscribers]')!.textContent === count,
      String(STREAMS - 3)
    )
    await page.getByRole('button', { name: 'Stop' }).click()
    await page.getByText('stopped').waitFor()
  })

  for (const scheme of ['light', 'dark'] as const) {
    t.test(`on a phone nothing overflows, ${scheme}`, async t => {
      const page = await visit(t, browser, url, 360, scheme)
      await rows(page).nth(199).waitFor()
      await page.getByRole('button', { name: 'prices', exact: true }).click()
      await page.locator('#tail li').nth(5).waitFor()
      t.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360)
      const overflowing = await page.evaluate(() =>
        [...document.querySelectorAll('main > *, #figures > *, #streams tr:nth-child(-n+5) > *, #latency li')]
          .filter(({ clientWidth }) => clientWidth > 0).map(element => element.getBoundingClientRect()).filter((
            { left, right }
          ) => left < 0 || right > 360).length
      )
      t.equal(overflowing, 0)
      await page.screenshot({ path: `${SCREENSHOTS}/inspector-phone-${scheme}.png` })
      await rows(page).first().locator('button').click()
      const box = await page.locator('#end-dialog').boundingBox()
      t.ok(box!.x >= 0 && box!.x + box!.width <= 360, 'the dialog does not overflow')
    })
  }

  t.test('the page shows that it is no longer permitted, and receives no more reports', async t => {
    const page = await visit(t, browser, url, 1_280, 'light')
    await rows(page).nth(199).waitFor()
    permitted.now = false
    await page.locator('#state[data-state=closed]').waitFor()
    t.match(await page.locator('#state').innerText(), 'it is no longer permitted')
    permitted.now = true
    await page.getByRole('button', { name: 'Reconnect' }).click()
    await page.locator('#state[data-state=open]').waitFor()
  })

  t.test('the inspector has no subscriber after the last page is closed', async t => {
    await until('the inspector has no stream', () => app.sse.channel('prices', { events }).subscribers === STREAMS - 3)
    t.equal(app.sse.stats().streams.open, STREAMS)
  })
})
