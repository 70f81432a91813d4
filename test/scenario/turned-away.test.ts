import Fastify from 'fastify'
import sse, { EventQueue } from 'fastify-typed-sse'
import { chromium } from 'playwright-core'
import t from 'tap'
import { FLAGS } from '../setup/chromium.ts'
import { listen } from '../setup/listen.ts'
import { absent, CHROMIUM, need } from '../setup/programs.ts'
import { open } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

t.setTimeout(120_000)

t.test('a browser that is turned away comes back by itself, and has its stream when there is room', { skip: absent(CHROMIUM) }, async t => {
  const app = Fastify()
  await app.register(sse, { limits: { total: 1, retryAfter: 50 } })
  app.get('/', (_request, reply) => reply.type('text/html').send('<!doctype html><title>turned away</title>'))
  app.get('/feed', (_request, reply) => {
    const queue = new EventQueue()
    queue.push({ data: 'welcome' }).catch(() => {})
    return reply.sse(queue)
  })
  const port = await listen(t, app)
  const first = await open(port, { path: '/feed' })
  await within('the stream', first.until('welcome'))

  const browser = await chromium.launch({ executablePath: need(CHROMIUM), args: FLAGS })
  t.teardown(() => browser.close())
  const page = await browser.newPage()
  await page.goto(`http://127.0.0.1:${port}/`)
  await page.evaluate(() => {
    const told: string[] = []
    const source = new EventSource('/feed')
    source.onopen = () => { told.push('open') }
    source.onerror = () => { told.push(`error ${source.readyState}`) }
    source.onmessage = ({ data }) => { told.push(String(data)) }
    Object.assign(window, { told, source })
  })
  const told = (): Promise<string[]> => page.evaluate(() => (window as unknown as { told: string[] }).told)
  // Three times at least: open, and its end, after which it is connecting (0) and not closed (2).
  while ((await told()).length < 6) await page.waitForTimeout(20)
  t.strictSame((await told()).slice(0, 6), ['open', 'error 0', 'open', 'error 0', 'open', 'error 0'])
  t.ok(app.sse.stats().rejected.total >= 3)

  first.socket.destroy()
  await page.waitForFunction(() => (window as unknown as { told: string[] }).told.includes('welcome'))
  t.strictSame((await told()).slice(-2), ['open', 'welcome'])
  // A browser's idle connections hold up the server's close.
  await browser.close()
})
