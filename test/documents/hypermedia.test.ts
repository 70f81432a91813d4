import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { Channel } from '../../lib/index.ts'
import { DocumentPrograms, open, openPage } from '../setup/document-programs.ts'
import { listen } from '../setup/listen.ts'
import { absent, CHROMIUM } from '../setup/programs.ts'
import { until } from '../setup/until.ts'

t.setTimeout(300_000)

const hypermedia = new DocumentPrograms('lib/protocols/hypermedia.md')

const publish = (app: FastifyInstance, payload: string) =>
  app.inject({ method: 'POST', url: '/news', headers: { 'content-type': 'text/plain' }, payload })

/** Checks that a subscriber receives these bytes. */
const receives = (bytes: string) => async (t: Test, app: FastifyInstance): Promise<void> => {
  const stream = await open(t, app, '/news')
  const head = await stream.until('\n\n')
  await publish(app, 'Hello <you>')
  const received = await stream.until(bytes.slice(bytes.lastIndexOf('data: ')))
  t.equal(received.slice(head.length).replaceAll(/^id: .*\n/gm, ''), bytes)
}

hypermedia.run({
  htmx: [receives('data: <li>Hello &lt;you&gt;</li>\n\n')],
  Turbo: [receives('data: <turbo-stream action="append" target="news"><template><li>Hello &lt;you&gt;</li></template></turbo-stream>\n\n')],
  Datastar: [receives(`event: datastar-patch-elements
data: mode append
data: selector #news
data: elements <li>Hello &lt;you&gt;</li>

event: datastar-patch-signals
data: signals {"latest":"Hello <you>"}

`)],
  HTML: [async t => {
    const { list } = await hypermedia.load<{ list: string }>('<ul>')
    t.equal(list, '<ul><li title="&lt;one&gt;">&lt;one&gt;</li><li title="two">two</li></ul>')
  }]
})

// The folder of each library in a page, by its address.
const FOLDERS: Record<string, string> = {
  'htmx.org@2': 'htmx.org',
  'htmx-ext-sse@2': 'htmx-ext-sse',
  'htmx.org@4': 'htmx-4',
  '@hotwired/turbo@8': '@hotwired/turbo'
}

const CORS = { 'content-type': 'text/javascript', 'access-control-allow-origin': '*' }

const pages = hypermedia.blocks.filter(({ language, heading }) => language === 'html' && heading !== 'Datastar')

t.test('there is a page for each library', async t => {
  t.strictSame(pages.map(({ heading }) => heading), ['htmx', 'htmx', 'Turbo'])
})

for (const [index, { heading, code }] of pages.entries()) {
  t.test(`page ${index + 1}, of ${heading}, shows HTML`, { skip: absent(CHROMIUM) }, async t => {
    const { app, news } = await hypermedia.loadAgain<{ app: FastifyInstance, news: Channel }>(
      heading === 'htmx' ? 'htmxOptions' : 'turboOptions')
    const origin = `http://127.0.0.1:${await listen(t, app)}`
    const page = await openPage(t, origin)
    await page.route('https://cdn.jsdelivr.net/npm/**', route => {
      const [, name = '', file] = /\/npm\/((?:@[^/]+\/)?[^/]+)\/(.*)$/.exec(route.request().url())!
      return route.fulfill({ path: `node_modules/${FOLDERS[name]}/${file}`, headers: CORS })
    })
    await page.route(`${origin}/`, route => route.fulfill({ body: code, contentType: 'text/html' }))
    await page.goto(`${origin}/`)
    await until('it is subscribed', () => news.subscribers === 1)
    await publish(app, 'Hello <you>')
    await page.waitForFunction(() => document.querySelector('li')?.textContent === 'Hello <you>')
  })
}
