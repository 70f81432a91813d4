import { readFileSync } from 'node:fs'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type Channel, type ChannelOptions } from '../../lib/index.ts'
import {
  html, htmxEvents, htmxOptions, turboEvents, turboOptions, turboStream, type Html
} from '../../lib/protocols/hypermedia.ts'
import type { StreamOptions } from '../../lib/stream/options.ts'
import { inEachEngine } from '../setup/engines/each.ts'
import { PATIENCE, type Page } from '../setup/engines/engine.ts'
import { listen } from '../setup/listen.ts'
import { until } from '../setup/until.ts'

t.setTimeout(240_000)

declare global {
  interface Window { closeReason: string }
}

/** A library in a page, and how the server speaks to it. */
interface Library {
  scripts: string[]
  /** The element that connects, in a `main`. */
  element: string
  events: { message: { readonly type: 'string' }, end?: { readonly type: 'string' } }
  options: StreamOptions
  /** Returns the data that appends HTML to the element with the id `rows`. */
  append: (content: Html) => string
  /** Removes the element as the library does. */
  remove: (page: Page, feed: Channel) => Promise<unknown>
}

const clickRemove = (page: Page): Promise<void> => page.evaluate(() => document.querySelector('button')!.click())
const BUTTON = '<button hx-get="/empty" hx-target="main" hx-swap="innerHTML">remove</button>'

const LIBRARIES: Record<string, Library> = {
  'htmx 2': {
    scripts: ['htmx.org/dist/htmx.js', 'htmx-ext-sse/sse.js'],
    element: `<ul id="rows" hx-ext="sse" sse-connect="/feed" sse-swap="message" sse-close="end" hx-swap="beforeend"></ul>${BUTTON}`,
    events: htmxEvents,
    options: htmxOptions,
    append: String,
    remove: clickRemove
  },
  'htmx 4': {
    scripts: ['htmx-4/dist/htmx.js', 'htmx-4/dist/ext/hx-sse.js'],
    element: `<ul id="rows" hx-sse:connect="/feed" hx-sse:close="end" hx-swap="beforeend"></ul>${BUTTON}`,
    events: htmxEvents,
    options: htmxOptions,
    append: String,
    remove: clickRemove
  },
  Turbo: {
    scripts: ['@hotwired/turbo/dist/turbo.es2017-umd.js'],
    element: '<turbo-stream-source id="source" src="/feed"></turbo-stream-source><ul id="rows"></ul>',
    events: turboEvents,
    options: turboOptions,
    append: content => turboStream('append', { target: 'rows' }, content),
    remove: (_page, feed) => feed.publish({ data: turboStream('remove', { target: 'source' }) })
  }
}

/** A server with a page of a library, and a channel of its events. */
class Site {
  readonly app: FastifyInstance = Fastify({ forceCloseConnections: true })
  /** The positions in the requests. */
  readonly requests: string[] = []
  /** How often the page was requested. */
  pages = 0
  feed!: Channel
  #cut = async (): Promise<void> => {}

  static async start (t: Test, { scripts, element, events, options }: Library): Promise<{ site: Site, url: string }> {
    const site = new Site()
    const { app } = site
    await app.register(sse, { retry: 50 })
    const feed = app.sse.channel('feed', {
      events,
      history: { maxEvents: 2 }
    } as ChannelOptions<typeof events>)
    site.feed = feed as unknown as Channel
    app.get('/feed', { schema: { sse: events } }, (request, reply) => {
      site.requests.push(String(request.headers['last-event-id'] ?? ''))
      site.#cut = () => new Promise(resolve => {
        reply.raw.on('close', resolve)
        request.raw.socket.destroy()
      })
      return reply.sse(feed, options as StreamOptions<never>)
    })
    app.get('/empty', (_request, reply) => reply.type('text/html').send('<p>removed</p>'))
    const tags = scripts.map((file, index) => {
      const text = readFileSync(`node_modules/${file}`)
      app.get(`/${index}.js`, (_request, reply) => reply.type('text/javascript').send(text))
      return `<script src="/${index}.js"></script>`
    })
    app.get('/', (_request, reply) => {
      site.pages++
      return reply.type('text/html').send(
        `<!doctype html><link rel="icon" href="data:,"><title>A page</title>${tags.join('')}<body><main>${element}</main>`)
    })
    return { site, url: `http://127.0.0.1:${await listen(t, app)}/` }
  }

  /** Cuts the connection, and publishes before the client is there again. The channel keeps two events. */
  async cut (data: string, count = 1): Promise<void> {
    await this.#cut()
    for (let n = 1; n <= count; n++) await this.feed.publish({ data })
  }
}

const row = (text: string): Html => html`<li class="row">
  <b>${text}</b>

</li>`
const shows = (page: Page, ...texts: string[]): Promise<void> =>
  page.until(texts.join(), texts => [...document.querySelectorAll('#rows > li.row > b')]
    .map(element => element.textContent).join() === texts, texts.join())

inEachEngine(t, 1, (t, engine) => {
  for (const [name, library] of Object.entries(LIBRARIES)) {
    const { append, remove } = library
    t.test(`${name}: a page shows HTML of many lines, resumes after a cut, and closes its connection`, async t => {
      const { site, url } = await Site.start(t, library)
      const { feed } = site
      const page = await engine.open(t, url)
      await until('it is subscribed', () => feed.subscribers === 1, PATIENCE)
      await feed.publish({ data: append(row('one <1>')) })
      await shows(page, 'one <1>')
      t.equal(await page.evaluate(() => document.querySelector('.row')!.innerHTML), '\n  <b>one &lt;1&gt;</b>\n\n')

      await site.cut(append(row('two')))
      await until('it is subscribed again', () => feed.subscribers === 1, PATIENCE)
      await feed.publish({ data: append(row('three')) })
      await shows(page, 'one <1>', 'two', 'three')
      t.equal(site.requests.length, 2)
      t.not(site.requests[1], '', 'it sends its position')

      await remove(page, feed)
      await until('the connection is closed', () => feed.subscribers === 0, PATIENCE)
    })
  }

  for (const name of ['htmx 2', 'htmx 4']) {
    t.test(`${name}: the end of the channel closes the connection`, async t => {
      const { site, url } = await Site.start(t, LIBRARIES[name]!)
      const page = await engine.open(t, url)
      await until('it is subscribed', () => site.feed.subscribers === 1, PATIENCE)
      await page.evaluate(() => {
        window.closeReason = ''
        for (const name of ['htmx:sseClose', 'htmx:sse:close']) {
          document.addEventListener(name, event => {
            const { type, reason } = (event as CustomEvent<{ type?: string, reason?: string }>).detail
            window.closeReason = String(type ?? reason)
          })
        }
      })
      await site.feed.publish({ data: String(row('last')) })
      await site.feed.end()
      await shows(page, 'last')
      await page.until('its end', () => window.closeReason === 'message')
      t.equal(site.requests.length, 1)
    })
  }

  t.test('Turbo: after a reset the page is loaded again', async t => {
    const { site, url } = await Site.start(t, LIBRARIES.Turbo!)
    const { feed } = site
    const page = await engine.open(t, url)
    await until('it is subscribed', () => feed.subscribers === 1, PATIENCE)
    await feed.publish({ data: turboStream('append', { target: 'rows' }, row('one')) })
    await shows(page, 'one')
    await site.cut('', 3)
    await until('the page is requested', () => site.pages === 2, PATIENCE)
    await until('it is subscribed again', () => site.requests.length === 3 && feed.subscribers === 1, PATIENCE)
    t.equal(site.requests[2], '', 'from the start')
    await shows(page, '')
  })
})
