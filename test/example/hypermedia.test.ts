import Fastify, { type FastifyInstance } from 'fastify'
import sse from 'fastify-typed-sse'
import t from 'tap'
import hypermedia from '../../example/hypermedia/server.ts'
import { page as servePage } from '../../example/page.ts'
import { inBrowser, shoot, Site, tabOf, windowOf } from './browser.ts'
import { until } from '../setup/until.ts'

t.setTimeout(300_000)

async function build (): Promise<FastifyInstance> {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse, { retry: 50 })
  await app.register(hypermedia)
  servePage(app, '/page.css', new URL('../../example/page.css', import.meta.url))
  return app
}

const PATHS = ['/hypermedia/htmx', '/hypermedia/turbo']

t.test('a note without text is refused', async t => {
  const app = await build()
  t.teardown(() => app.close())
  for (const payload of [{}, { text: '' }, { text: 'x'.repeat(201) }]) {
    t.equal((await app.inject({ method: 'POST', url: '/hypermedia/notes', payload })).statusCode, 400)
  }
})

inBrowser(t, (t, browser) => {
  t.test('the page inserts each note twice, also those that it missed', async t => {
    const site = await Site.start(t, await build())
    const page = await tabOf(t, await windowOf(t, browser), `${site.url}/hypermedia`)
    const subscribed = (count: number): Promise<void> =>
      until(`${count} streams of each`, () => PATHS.every(path => site.gets(path).length === count))
    await subscribed(1)
    const note = '<b>bold</b> & "quoted"'
    await page.fill('#text', note)
    await page.click('button')
    for (const id of ['htmx', 'turbo']) await page.locator(`#${id} > li > span`, { hasText: note }).waitFor()

    for (const path of PATHS) site.gets(path)[0]!.request.socket.destroy()
    await site.app.inject({ method: 'POST', url: '/hypermedia/notes', payload: { text: 'missed' } })
    await subscribed(2)
    for (const id of ['htmx', 'turbo']) {
      await page.locator(`#${id} > li > span`, { hasText: 'missed' }).waitFor()
      t.strictSame(await page.locator(`#${id} > li > span`).allTextContents(), [note, 'missed'])
    }
    t.equal(await page.inputValue('#text'), '')
    await shoot(t, page, 'hypermedia')
  })
})
