import Fastify, { type FastifyInstance } from 'fastify'
import { chromium, type BrowserContext, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import sse, { type Channel } from '../../lib/index.ts'
import { serveClient } from '../setup/bundle.ts'
import { FLAGS } from '../setup/chromium.ts'
import { listen } from '../setup/listen.ts'
import { absent, CHROMIUM, need } from '../setup/programs.ts'
import { until } from '../setup/until.ts'

t.setTimeout(180_000)

const PATIENCE = 60_000

declare global {
  interface Window { kept: { numbers: number[], returned: boolean, closed: string } }
}

/** A server with a channel of numbers, and the requests that it received. */
class Numbers {
  readonly app: FastifyInstance = Fastify({ forceCloseConnections: true })
  readonly requests: Array<{ lastEventId: string, key: string }> = []
  open = 0
  newest = 0
  url!: string
  #channel!: Channel

  static async start (t: Test, more: (app: FastifyInstance) => void = () => {}): Promise<Numbers> {
    const numbers = new Numbers()
    const { app } = numbers
    await app.register(sse)
    const channel = numbers.#channel = app.sse.channel('numbers')
    app.get('/numbers', (request, reply) => {
      numbers.requests.push({
        lastEventId: String(request.headers['last-event-id'] ?? ''),
        key: String(request.headers['x-api-key'] ?? '')
      })
      numbers.open++
      reply.raw.on('close', () => { numbers.open-- })
      return reply.sse(channel)
    })
    await serveClient(app)
    more(app)
    numbers.url = `http://127.0.0.1:${await listen(t, app)}/`
    return numbers
  }

  publish (): void { this.#channel.publish({ data: ++this.newest }) }
}

/** A browser with the back/forward cache, which playwright disables. */
async function launch (t: Test): Promise<BrowserContext> {
  const browser = await chromium.launch({
    executablePath: need(CHROMIUM),
    args: FLAGS,
    ignoreDefaultArgs: ['--disable-back-forward-cache']
  })
  t.teardown(() => browser.close())
  return browser.newContext()
}

async function visit (page: Page, url: string, options: object, path = '/numbers'): Promise<void> {
  page.setDefaultTimeout(PATIENCE)
  await page.goto(url)
  await page.evaluate(async ({ options, path }) => {
    const client = '/client.js'
    const { connect } = await import(client) as typeof import('../../lib/client.ts')
    const kept = window.kept = { numbers: [] as number[], returned: false as boolean, closed: '' }
    addEventListener('pageshow', ({ persisted }) => { kept.returned = persisted })
    const stream = connect(path, { retryDelay: 50, ...options as import('../../lib/client.ts').RawConnectOptions })
    stream.on('message', ({ data }) => { kept.numbers.push(Number(data)) })
    stream.closed.then(({ reason, error }) => { kept.closed = error?.code ?? reason })
  }, { options, path })
}

const reaches = (page: Page, number: number) =>
  page.waitForFunction(number => window.kept.numbers.at(-1) === number, number)
const numbersOf = (page: Page) => page.evaluate(() => window.kept.numbers)

t.test('Chromium', { skip: absent(CHROMIUM) }, async t => {
  for (const share of [true, false]) {
    t.test(`a page that is left closes its connection, and has every number when it returns: ${share ? 'shared' : 'alone'}`, async t => {
      const server = await Numbers.start(t)
      const context = await launch(t)
      const [first, other] = [await context.newPage(), await context.newPage()]
      for (const page of [first, other]) {
        await visit(page, server.url, { share })
        await until('its connection', () => server.open === (share || page === first ? 1 : 2), PATIENCE)
      }
      const publish = async (...pages: Page[]): Promise<void> => {
        server.publish()
        for (const page of pages) await reaches(page, server.newest)
      }
      await until('both are live', async () => {
        server.publish()
        const got = await Promise.all([first, other].map(async page => (await numbersOf(page)).length))
        return got.every(count => count > 0)
      }, PATIENCE)
      await publish(first, other)
      await first.goto(`${server.url}client.js`)
      await until('the connection of the page is closed', () => server.requests.length >= 2 && server.open === 1,
        PATIENCE)
      // Far less than the minute for which Chromium keeps a page.
      await publish(other)
      await publish(other)
      await first.goBack({ waitUntil: 'commit' })
      await first.waitForFunction(() => window.kept.returned)
      await reaches(first, server.newest)
      await publish(first, other)
      for (const page of [first, other]) {
        const numbers = await numbersOf(page)
        t.strictSame(numbers, Array.from({ length: server.newest - numbers[0]! + 1 }, (_, n) => numbers[0]! + n),
          'each number once and in order')
      }
      await until('as many connections as before', () => server.open === (share ? 1 : 2), PATIENCE)
    })
  }

  t.test('six pages that were left do not block a seventh', async t => {
    const server = await Numbers.start(t)
    const page = await (await launch(t)).newPage()
    for (let n = 0; n < 8; n++) {
      await visit(page, `${server.url}?${n}`, {})
      await until('it is connected', () => server.requests.length === n + 1 && server.open === 1, PATIENCE)
    }
    t.equal(server.open, 1)
  })

  t.test('headers are sent along with a redirect within the origin, and a page rejects a redirect to another', async t => {
    const other = await Numbers.start(t)
    const server = await Numbers.start(t, app => {
      app.get('/within', (_request, reply) => reply.redirect('/numbers'))
      app.get('/away', (_request, reply) => reply.redirect(`${other.url}numbers`))
    })
    const page = await (await launch(t)).newPage()
    await visit(page, server.url, { headers: { 'x-api-key': 'secret' } }, '/within')
    await until('it is connected', () => server.open === 1, PATIENCE)
    t.equal(server.requests[0]!.key, 'secret')
    await visit(page, server.url, { headers: { 'x-api-key': 'secret' } }, '/away')
    await page.waitForFunction(() => window.kept.closed !== '')
    t.equal(await page.evaluate(() => window.kept.closed), 'FST_SSE_REDIRECT')
    t.equal(other.requests.length, 0)
  })

  t.test('invalid options and responses end the stream in a page, too', async t => {
    const server = await Numbers.start(t)
    const page = await (await launch(t)).newPage()
    for (const [options, path, code] of [
      [{}, 'htp://there/', 'FST_SSE_REQUEST'],
      [{ body: 'x' }, '/numbers', 'FST_SSE_REQUEST'],
      [{ headers: { 'a b': '1' } }, '/numbers', 'FST_SSE_REQUEST'],
      [{ lastEventId: 'a\u0001b' }, '/numbers', 'FST_SSE_POSITION'],
      [{ retryDelay: 'x' }, '/numbers', 'FST_SSE_OPTION']
    ] as const) {
      await visit(page, server.url, options, path)
      await page.waitForFunction(() => window.kept.closed !== '')
      t.equal(await page.evaluate(() => window.kept.closed), code, `${path} ${JSON.stringify(options)}`)
    }
    t.equal(server.requests.length, 0)
  })
})
