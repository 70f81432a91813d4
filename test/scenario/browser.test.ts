import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import sse, { EventQueue, type RegisterOptions } from 'fastify-typed-sse'
import t, { type Test } from 'tap'
import { build } from '../../example/server.ts'
import { generate } from '../../example/tokens/model.ts'
import { modules } from '../../example/modules.ts'
import tokens from '../../example/tokens/server.ts'
import { certificate } from '../setup/certificate.ts'
import { ChromiumPage } from '../setup/engines/chromium.ts'
import { inEachEngine } from '../setup/engines/each.ts'
import { PATIENCE, type Page } from '../setup/engines/engine.ts'
import { open } from '../setup/raw.ts'
import { Relay } from '../setup/relay.ts'
import { RemoteLog } from '../setup/remote-log.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

t.setTimeout(300_000)

const SCREENSHOTS = '.tap/screenshots'

const SEED = Array.from({ length: 10 }, (_, i) => `200  server sent event message: ${i + 1}`)

declare global {
  interface Window { received: string[], sources: EventSource[] }
}

/** A server, and the responses that it sent for a path. */
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

  get url (): string { return `http://127.0.0.1:${this.port}` }

  get port (): number { return (this.app.server.address() as AddressInfo).port }

  responses (path: string): ServerResponse[] {
    return this.#responses.filter(entry => entry.path === path).map(entry => entry.response)
  }
}

const state = (page: Page, name: string): Promise<void> =>
  page.until(`the state ${name}`, name => document.getElementById('state')?.dataset.state === name, name)

const reaches = (page: Page, id: string, number: number): Promise<void> =>
  page.until(`${id}: ${number}`, (id, number) => Number(document.getElementById(id)?.textContent) >= number, id, number)

const textOf = (page: Page, id: string): Promise<string> =>
  page.evaluate(id => document.getElementById(id)!.textContent, id)

const lines = (page: Page): Promise<string[]> =>
  page.evaluate(() => [...document.querySelectorAll('#log .message span')].map(line => line.textContent))

/** Takes screenshots for people, in one engine, and checks that the page fits a phone. */
async function shoot (t: Test, page: Page, name: string): Promise<void> {
  if (page instanceof ChromiumPage) {
    t.equal(await page.shoot(`${SCREENSHOTS}/${name}`), 390, 'nothing overflows on a phone')
  }
}

/**
 * Opens a stream that ends after the streams of the page and reconnects. Then the others have reconnected, if they
 * would.
 */
async function comesBack (page: Page, site: Site): Promise<void> {
  await page.evaluate(() => { window.sources = [new EventSource('/ends')] })
  await until('a reconnect', () => site.responses('/ends').length > 1, PATIENCE)
  await page.evaluate(() => window.sources[0]!.close())
}

/** A server with an empty page at `/`. */
async function withPage (server: FastifyServerOptions, options: RegisterOptions): Promise<FastifyInstance> {
  const app = Fastify({ forceCloseConnections: true, ...server })
  await app.register(sse, options)
  app.get('/',
    (_request, reply) =>
      reply.type('text/html').send('<!doctype html><link rel="icon" href="data:,"><title>A page</title>'))
  return app
}

/** Opens the stream several times in the page, and records the events. */
const openStreams = (page: Page, path: string, times = 1): Promise<void> => page.evaluate((path, times) => {
  const received: string[] = []
  const sources = Array.from({ length: times }, () => new EventSource(path))
  for (const source of sources) {
    source.onopen = () => { received.push('open') }
    source.onerror = () => { received.push(`error ${source.readyState}`) }
    source.onmessage = ({ data }) => { received.push(String(data)) }
  }
  Object.assign(window, { received, sources })
}, path, times)

const received = (page: Page): Promise<string[]> => page.evaluate(() => window.received)

/** Waits until that many streams received a text. */
const tells = (page: Page, text: string, times = 1): Promise<void> =>
  page.until(`${text} ${times} times`, (text, times) =>
    window.received.filter(received => received === text).length >= times, text, times)

mkdirSync(SCREENSHOTS, { recursive: true })

inEachEngine(t, 4, (t, engine) => {
  const visit = (t: Test, site: Site, path: string): Promise<Page> => engine.open(t, `${site.url}${path}`)

  t.test('the seed page shows the ten messages, and shows them again after a restart of the server', async t => {
    const site = await Site.start(t, await build())
    const page = await visit(t, site, '/seed')
    await reaches(page, 'messages', 10)
    t.strictSame((await lines(page)).slice(0, 10), SEED)
    await shoot(t, page, 'seed')

    // The server is stopped directly after a message, so no reconnect meets it while it closes.
    await reaches(page, 'messages', (await lines(page)).length + 1)
    const { port } = site
    await site.app.close()
    await state(page, 'connecting')
    const before = (await lines(page)).length
    const restarted = await Site.start(t, await build(), port)
    await reaches(page, 'messages', before + 10)
    t.strictSame((await lines(page)).slice(before, before + 10), SEED)
    t.ok(restarted.responses('/sse').length >= 1, 'from the new server')
    t.ok(Number(await textOf(page, 'reconnects')) >= 2)
    await shoot(t, page, 'seed-restarted')
  })

  t.test('the page of a finite stream stops at the end', async t => {
    const site = await Site.start(t, await withEnds())
    const page = await visit(t, site, '/seed?path=/sse/once')
    await state(page, 'closed')
    await comesBack(page, site)
    t.strictSame(site.responses('/sse/once').map(response => response.statusCode), [200, 204])
    t.strictSame(await lines(page), SEED)
    await shoot(t, page, 'seed-once')
  })

  t.test('the start page shows every example live', async t => {
    const site = await Site.start(t, await build())
    const page = await visit(t, site, '/')
    for (const [path, id, text] of [['/seed', 'log', 'server sent event message: 3'], ['/tokens', 'answer', 'a'], [
      '/progress',
      'log',
      'orders-03.csv'
    ]]) {
      await page.until(`${text} in ${path}`, (path, id, text) =>
        document.querySelector<HTMLIFrameElement>(`iframe[src="${path}"]`)!.contentDocument!.getElementById(id!)!
          .textContent.includes(text!), path, id, text)
    }
    await shoot(t, page, 'start')
  })

  t.test('the tokens page shows the answer word by word', async t => {
    const site = await Site.start(t, await build())
    const page = await visit(t, site, '/tokens')
    await state(page, 'done')
    let words = ''
    for await (const word of generate('What is an event stream?', {
      limit: 1000,
      signal: new AbortController().signal
    })) words += word
    t.equal(await textOf(page, 'answer'), words)
    await shoot(t, page, 'tokens')
  })

  t.test('the tokens page shows tokens before the end, and its Stop button stops the generator', async t => {
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
    const page = await visit(t, await Site.start(t, app), '/tokens')
    await reaches(page, 'tokens', 2)
    t.equal(await textOf(page, 'state'), 'Streaming')
    await page.evaluate(() => document.getElementById('stop')!.click())
    await state(page, 'stopped')
    t.equal(await within('the end of the generator', stopped, PATIENCE), true)
    t.equal(await textOf(page, 'answer'), 'Once upon a time')
  })

  t.test('the progress page reaches done and does not reconnect', async t => {
    const site = await Site.start(t, await withEnds())
    const page = await visit(t, site, '/progress')
    await state(page, 'done')
    t.equal(await textOf(page, 'percent'), '100')
    t.equal(await page.evaluate(() => document.getElementById('bar')!.getAttribute('value')), '100')
    t.equal(await page.evaluate(() => document.querySelectorAll('#log li').length), 26)
    await comesBack(page, site)
    t.strictSame(site.responses('/progress/events').map(response => response.statusCode), [200])
    await shoot(t, page, 'progress')
  })

  t.test('L10: a page whose request is rejected retries by itself, and gets its stream when there is room', async t => {
    const app = await withPage({}, { limits: { maxStreams: 1, retryAfter: 50 } })
    app.get('/feed', (_request, reply) => {
      const queue = new EventQueue()
      queue.push({ data: 'welcome' }).catch(() => {})
      return reply.sse(queue)
    })
    const site = await Site.start(t, app)
    const first = await open(site.port, { path: '/feed' })
    await within('the stream', first.until('welcome'), PATIENCE)

    const page = await visit(t, site, '/')
    await openStreams(page, '/feed')
    // Each time the stream opens, then ends. Then it is connecting (0), not closed (2).
    await tells(page, 'error 0', 3)
    t.strictSame((await received(page)).slice(0, 6), ['open', 'error 0', 'open', 'error 0', 'open', 'error 0'])
    t.ok(app.sse.stats().rejected.maxStreams >= 3)

    first.socket.destroy()
    await tells(page, 'welcome')
    t.strictSame((await received(page)).slice(-2), ['open', 'welcome'])
  })

  t.test('L7, R2: a drain moves a page to the next server, and the page receives every event', async t => {
    const log = new RemoteLog()
    const nodes = await Promise.all([0, 1].map(async () => {
      const app = await withPage({ return503OnClosing: false }, { eventLog: () => log, reconnectWindow: 200 })
      app.get('/numbers', (_request, reply) => reply.sse(app.sse.channel('numbers')))
      return Site.start(t, app)
    })) as [Site, Site]
    const [old, next] = nodes
    const ports = [old.port]
    const relay = await Relay.start(t, () => ports)
    const page = await engine.open(t, `http://127.0.0.1:${relay.port}/`)
    await openStreams(page, '/numbers')
    await tells(page, 'open')
    let last = 0
    const publish = async (): Promise<void> => {
      for (const end = last + 5; last < end;) await next.app.sse.channel('numbers').publish({ data: ++last })
    }
    await publish()
    await tells(page, '5')

    ports.splice(0, 1, next.port)
    await Promise.all([within('the drain', old.app.sse.drain(), PATIENCE), publish()])
    await publish()
    await until('it is at the next server', () => next.app.sse.channel('numbers').subscribers === 1, PATIENCE)
    await publish()
    await tells(page, '20')
    const all = await received(page)
    t.strictSame(all.filter(text => /^\d+$/.test(text)), Array.from({ length: 20 }, (_, n) => String(n + 1)))
    t.notOk(all.includes('error 2'), 'it never gave up')
    t.equal(old.app.sse.stats().streams.open, 0)
  })

  t.test('over HTTP/2 and TLS a page has more than six streams, and each resumes at its position', async t => {
    const STREAMS = 12
    // The types of HTTP/2 differ, the interface is the same. Streams end and reconnect all the time.
    const server = { http2: true, https: { ...certificate(), allowHTTP1: true } } as FastifyServerOptions
    const app = await withPage(server, { retry: 50, maxLifetime: 1_000 })
    const versions: string[] = []
    app.get('/news', (request, reply) => {
      versions.push(request.raw.httpVersion)
      return reply.sse(app.sse.channel('news'))
    })
    const site = await Site.start(t, app)
    const news = app.sse.channel('news')
    const page = await engine.open(t, `https://127.0.0.1:${site.port}/`)
    await openStreams(page, '/news', STREAMS)
    await until('all are subscribed', () => news.subscribers === STREAMS, PATIENCE)
    for (let number = 1; number <= 5; number++) {
      const before = versions.length
      await news.publish({ data: number })
      await tells(page, String(number), STREAMS)
      await until('all have reconnected', () => versions.length >= before + STREAMS, PATIENCE)
    }
    t.strictSame([...new Set(versions)], ['2.0'])
    const numbers = (await received(page)).filter(text => /^\d$/.test(text)).sort()
    t.equal(numbers.join(''), [1, 2, 3, 4, 5].map(number => String(number).repeat(STREAMS)).join(''),
      'each stream has each event once')
    await page.evaluate(() => {
      for (const source of window.sources) source.close()
    })
  })
})

/** The examples, and a stream that ends at once. */
async function withEnds (): Promise<FastifyInstance> {
  const app = await build()
  app.get('/ends', (_request, reply) => reply.sse([]))
  return app
}
