import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import sse from 'fastify-typed-sse'
import { chromium, type Browser, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { build } from '../../example/server.ts'
import { generate } from '../../example/tokens/model.ts'
import { modules } from '../../example/modules.ts'
import tokens from '../../example/tokens/server.ts'
import { FLAGS } from '../setup/chromium.ts'
import { absent, CHROMIUM, need } from '../setup/programs.ts'

t.setTimeout(180_000)

const SCREENSHOTS = '.tap/screenshots'
// Longer than Chromium waits before it connects again: after that, a page that wanted to has.
const RECONNECT = 4_000

const DESK = { width: 1200, height: 900 }

const SEED = Array.from({ length: 10 }, (_, i) => `200  server sent event message: ${i + 1}`)

/** A server, and the responses that it was asked for at a path. */
class Site {
  readonly app: FastifyInstance
  readonly #responses: Array<{ path: string, response: ServerResponse }> = []

  constructor (app: FastifyInstance) {
    this.app = app
    app.server.on('request', (request, response) => { this.#responses.push({ path: request.url!, response }) })
  }

  static async start (t: Test, app: FastifyInstance, port = 0): Promise<Site> {
    const site = new Site(app)
    t.teardown(() => app.close())
    await app.listen({ host: '127.0.0.1', port })
    return site
  }

  get port (): number { return (this.app.server.address() as AddressInfo).port }

  responses (path: string): ServerResponse[] {
    return this.#responses.filter(entry => entry.path === path).map(entry => entry.response)
  }
}

/** A page in a window of its own; what goes wrong in its script fails the test. */
async function visit (t: Test, browser: Browser, site: Site, path: string): Promise<Page> {
  const context = await browser.newContext({ viewport: DESK })
  const page = await context.newPage()
  page.setDefaultTimeout(60_000)
  page.on('pageerror', error => t.fail(error.message))
  t.teardown(() => context.close())
  await page.goto(`http://127.0.0.1:${site.port}${path}`)
  return page
}

const state = (page: Page, name: string) => page.locator(`#state[data-state=${name}]`).waitFor()

const reaches = (page: Page, id: string, number: number) =>
  page.waitForFunction(([id, number]) => Number(document.getElementById(id)?.textContent) >= number, [id, number] as const)

const lines = (page: Page) => page.locator('#log .message span').allTextContents()

/** Pictures for people. What a machine can see is whether the page fits a phone. */
async function shoot (t: Test, page: Page, name: string): Promise<void> {
  const picture = (kind: string) => page.screenshot({ path: `${SCREENSHOTS}/${name}${kind}.png`, fullPage: true })
  await picture('')
  await page.emulateMedia({ colorScheme: 'dark' })
  await picture('-dark')
  await page.emulateMedia({ colorScheme: 'light' })
  await page.setViewportSize({ width: 390, height: 844 })
  await picture('-phone')
  t.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390, 'nothing hangs out on a phone')
  await page.setViewportSize(DESK)
}

t.test('in a real browser', { skip: absent(CHROMIUM), jobs: 6 }, async t => {
  mkdirSync(SCREENSHOTS, { recursive: true })
  const browser = await chromium.launch({ executablePath: need(CHROMIUM), args: FLAGS })
  t.teardown(() => browser.close())

  t.test('the seed page shows the ten messages, and again after a restart of the server', async t => {
    const site = await Site.start(t, await build())
    const page = await visit(t, browser, site, '/seed')
    await reaches(page, 'messages', 10)
    t.strictSame((await lines(page)).slice(0, 10), SEED)
    await shoot(t, page, 'seed')

    // The server goes away when a message has just come: no reconnect can meet it while it closes.
    await reaches(page, 'messages', (await lines(page)).length + 1)
    const { port } = site
    await site.app.close()
    await state(page, 'connecting')
    const before = (await lines(page)).length
    const restarted = await Site.start(t, await build(), port)
    await reaches(page, 'messages', before + 10)
    t.strictSame((await lines(page)).slice(before, before + 10), SEED)
    t.ok(restarted.responses('/sse').length >= 1, 'from the new server')
    t.ok(Number(await page.locator('#reconnects').textContent()) >= 2)
    await shoot(t, page, 'seed-restarted')
  })

  t.test('the page of a stream with once stops at the end', async t => {
    const site = await Site.start(t, await build())
    const page = await visit(t, browser, site, '/seed?path=/sse/once')
    await state(page, 'closed')
    await sleep(RECONNECT)
    t.strictSame(site.responses('/sse/once').map(response => response.statusCode), [200, 204])
    t.strictSame(await lines(page), SEED)
    await shoot(t, page, 'seed-once')
  })

  t.test('the start page shows every example live', async t => {
    const site = await Site.start(t, await build())
    const page = await visit(t, browser, site, '/')
    for (const [path, text] of [['/seed', '#log :text("server sent event message: 3")'], ['/tokens', '#answer:has-text("a")'], ['/progress', '#log :text("orders-03.csv")']] as const) {
      await page.frameLocator(`iframe[src="${path}"]`).locator(text).first().waitFor()
    }
    await shoot(t, page, 'start')
  })

  t.test('the tokens page shows the answer word by word', async t => {
    const site = await Site.start(t, await build())
    const page = await visit(t, browser, site, '/tokens')
    await state(page, 'done')
    let words = ''
    for await (const word of generate('What is an event stream?', { limit: 1000, signal: new AbortController().signal })) words += word
    t.equal(await page.locator('#answer').textContent(), words)
    await shoot(t, page, 'tokens')
  })

  t.test('the tokens page shows what is there before the end, and its Stop stops the generator', async t => {
    const app = Fastify({ forceCloseConnections: true })
    await app.register(sse)
    modules(app)
    let over: (aborted: boolean) => void
    const stopped = new Promise<boolean>(resolve => { over = resolve })
    await app.register(tokens, {
      generate: async function * (_prompt, { signal }) {
        try {
          yield 'Once upon'
          yield ' a time'
          await once(signal, 'never', { signal })
        } finally {
          over(signal.aborted)
        }
      }
    })
    const page = await visit(t, browser, await Site.start(t, app), '/tokens')
    await reaches(page, 'tokens', 2)
    t.equal(await page.locator('#state').textContent(), 'Streaming')
    await page.getByRole('button', { name: 'Stop' }).click()
    await state(page, 'stopped')
    t.equal(await stopped, true)
    t.equal(await page.locator('#answer').textContent(), 'Once upon a time')
  })

  t.test('the progress page comes to done and does not connect again', async t => {
    const site = await Site.start(t, await build())
    const page = await visit(t, browser, site, '/progress')
    await state(page, 'done')
    t.equal(await page.locator('#percent').textContent(), '100')
    t.equal(await page.locator('#bar').getAttribute('value'), '100')
    t.equal(await page.locator('#log li').count(), 26)
    await sleep(RECONNECT)
    t.strictSame(site.responses('/progress/events').map(response => response.statusCode), [200])
    await shoot(t, page, 'progress')
  })

  t.test('R2, W8: a position by itself moves Last-Event-ID: a connection that breaks before the first event of a channel loses nothing', async t => {
    const app = Fastify({ forceCloseConnections: true })
    await app.register(sse, { retry: 100 })
    const channel = app.sse.channel('news')
    app.get('/news', (_request, reply) => reply.sse(channel))
    app.get('/', (_request, reply) => reply.type('text/html').send('<!doctype html><link rel="icon" href="data:,">'))
    const site = await Site.start(t, app)
    const page = await visit(t, browser, site, '/')
    // It is told of bytes when the page has them, of which a position by itself shows nothing.
    const devtools = await page.context().newCDPSession(page)
    await devtools.send('Network.enable')
    let missing = `retry: 100\n\n: live\nevent: sse.position\nid: ${(await channel.head()).id}\ndata: \n\n`.length
    const taken = new Promise<void>(resolve => devtools.on('Network.dataReceived', ({ dataLength }) => { if ((missing -= dataLength) <= 0) resolve() }))
    const asked = (async () => [(await once(app.server, 'request'))[0], (await once(app.server, 'request'))[0]] as IncomingMessage[])()
    const seen = page.evaluate(() => new Promise<string[]>(resolve => {
      const events: string[] = []
      const source = new EventSource('/news')
      source.onmessage = event => {
        events.push(`${event.lastEventId} ${event.data}`)
        if (event.data === 'live') resolve(events)
      }
    }))
    await taken
    site.responses('/news')[0]!.socket!.destroy()
    // While nobody listens: a newcomer would not get it.
    const missed = await channel.publish({ data: 'missed' })
    const [first, second] = await asked
    t.equal(first!.headers['last-event-id'], undefined)
    t.equal(second!.headers['last-event-id'], missed.replace(/1$/, '0'))
    const live = await channel.publish({ data: 'live' })
    t.strictSame(await seen, [`${missed} missed`, `${live} live`])
  })
})
