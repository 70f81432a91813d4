import { setTimeout as delay } from 'node:timers/promises'
import { build } from 'esbuild'
import Fastify, { type FastifyInstance } from 'fastify'
import { chromium, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import sse, { EventQueue } from '../../lib/index.ts'
import { chat, type Chat } from '../../lib/protocols/ai-sdk.ts'
import { redisLog } from '../../lib/redis.ts'
import { FLAGS } from '../setup/chromium.ts'
import { listen } from '../setup/listen.ts'
import { absent, CHROMIUM, need, REDIS } from '../setup/programs.ts'
import { RedisServer } from '../setup/redis.ts'
import { within } from '../setup/within.ts'

const PAGE = `
import { Chat, useChat } from '@ai-sdk/react'
import { DefaultChatTransport } from 'ai'
import { createRoot } from 'react-dom/client'

const prepareReconnectToStreamRequest = ({ api, id }) => ({ api: api + '/' + id + '/stream?message=' + chat.lastMessage?.id })
const chat = new Chat({
  id: location.hash.slice(1),
  transport: new DefaultChatTransport({ prepareReconnectToStreamRequest })
})

function Page () {
  const { messages, sendMessage, regenerate, status, error } = useChat({ chat, resume: true })
  const text = ({ parts }) => parts.map(part => part.type === 'text' ? part.text : '').join('')
  return <>
    {messages.filter(({ role }) => role === 'assistant').map(message => <p key={message.id}>{text(message)}</p>)}
    <button onClick={() => sendMessage({ text: 'Hello' })}>Ask</button>
    <button onClick={() => regenerate()}>Again</button>
    <output>{status}</output>
    <b>{error?.message}</b>
  </>
}
createRoot(document.querySelector('main')).render(<Page />)
`

async function bundle (): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: PAGE, loader: 'jsx', resolveDir: '.' },
    bundle: true,
    format: 'iife',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
    write: false
  })
  return outputFiles[0]!.text
}

/** A model on all nodes, whose tokens the test says. */
class Model {
  asked = 0
  aborted = 0
  tokens = new EventQueue({ capacity: 1_000 })

  readonly produce = ({ signal }: { signal: AbortSignal }): AsyncIterable<string> => {
    this.asked++
    const tokens = this.tokens = new EventQueue({ capacity: 1_000 })
    signal.addEventListener('abort', () => {
      this.aborted++
      tokens.end()
    })
    return textOf(tokens)
  }

  say (from: number, to: number): void {
    for (let n = from; n < to; n++) this.tokens.push({ data: `${n} ` })
  }
}

async function * textOf (tokens: EventQueue): AsyncGenerator<string> {
  for await (const { data } of tokens) yield data as string
}

const upTo = (count: number): string => Array.from({ length: count }, (_, n) => `${n} `).join('')
const reads = (page: Page, text: string) =>
  page.waitForFunction(text => document.querySelector('p:last-of-type')?.textContent === text, text)
const isIn = (page: Page, status: string) => page.locator('output', { hasText: status }).waitFor()

const skip = absent(CHROMIUM) || absent(REDIS)

t.test('useChat on three nodes with Redis', { skip }, async t => {
  const [redis, script] = await Promise.all([RedisServer.start(t), bundle()])
  const browser = await chromium.launch({ executablePath: need(CHROMIUM), args: FLAGS })
  t.teardown(() => browser.close())

  async function node (t: Test, model: Model): Promise<{ app: FastifyInstance, chats: Chat, url: string }> {
    const app = Fastify({ forceCloseConnections: true })
    await app.register(sse, { eventLog: redisLog(redis.client(t)), shutdownTimeout: 400 })
    const chats = chat(app, { authorize: () => true, produce: model.produce, leaseDuration: 1_000 })
    app.get('/page.js', (_request, reply) => reply.type('text/javascript').send(script))
    app.get('/', (_request, reply) => reply.type('text/html')
      .send('<!doctype html><link rel="icon" href="data:,"><main></main><script src="/page.js"></script>'))
    return { app, chats, url: `http://127.0.0.1:${await listen(t, app)}` }
  }

  async function tab (t: Test, { url }: { url: string }, id: string): Promise<Page> {
    const page = await browser.newPage()
    t.teardown(() => page.close())
    page.on('pageerror', error => t.fail(error.message))
    await page.goto(`${url}/#${id}`)
    return page
  }

  t.test('a closed tab, a second node, and a stop from a third: one model, each token once', async t => {
    const model = new Model()
    const [one, two, three] = [await node(t, model), await node(t, model), await node(t, model)]
    const first = await tab(t, one, 'closed')
    await first.getByRole('button', { name: 'Ask' }).click()
    while (model.asked === 0) await delay(5)
    model.say(0, 100)
    await reads(first, upTo(100))
    await first.close()
    model.say(100, 200)
    const second = await tab(t, two, 'closed')
    await reads(second, upTo(200))
    await isIn(second, 'streaming')
    const other = await tab(t, three, 'closed')
    model.say(200, 300)
    for (const page of [second, other]) await reads(page, upTo(300))
    t.equal((await fetch(`${three.url}/api/chat/closed`, { method: 'DELETE' })).status, 204)
    for (const page of [second, other]) {
      await isIn(page, 'ready')
      t.equal(await page.locator('p').count(), 1)
      t.equal(await page.locator('b').textContent(), '')
    }
    while (model.aborted === 0) await delay(5)
    t.equal(model.asked, 1)
  })

  t.test('a connection that breaks: the same page resumes, and has each token once', async t => {
    const model = new Model()
    const one = await node(t, model)
    const sockets = new Set<{ destroy: () => void }>()
    one.app.server.on('connection', socket => sockets.add(socket))
    const page = await tab(t, one, 'broken')
    await page.getByRole('button', { name: 'Ask' }).click()
    while (model.asked === 0) await delay(5)
    model.say(0, 50)
    await reads(page, upTo(50))
    for (const socket of sockets) socket.destroy()
    await isIn(page, 'error')
    model.say(50, 100)
    await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')))
    await reads(page, upTo(100))
    for (const socket of sockets) socket.destroy()
    await isIn(page, 'error')
    model.say(100, 110)
    model.tokens.end()
    while ((await one.chats.get('broken'))?.state !== 'complete') await delay(5)
    await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')))
    await reads(page, upTo(110))
    await isIn(page, 'ready')
    t.equal(await page.locator('p').count(), 1)
    t.equal(model.asked, 1)
    await page.getByRole('button', { name: 'Again' }).click()
    while (model.asked === 1) await delay(5)
    model.say(0, 3)
    model.tokens.end()
    await reads(page, upTo(3))
    t.equal(model.asked, 2, 'a regeneration asks the model again')
  })

  t.test('a node that closes: the page shows the error, and asks another node', async t => {
    const model = new Model()
    const [one, two] = [await node(t, model), await node(t, model)]
    const page = await tab(t, one, 'closing')
    await page.getByRole('button', { name: 'Ask' }).click()
    while (model.asked === 0) await delay(5)
    model.say(0, 10)
    const second = await tab(t, two, 'closing')
    await reads(second, upTo(10))
    await within('the end of the node', one.app.close())
    await isIn(second, 'error')
    t.equal(await second.locator('b').textContent(), 'Service Unavailable')
    t.equal(await two.chats.stop('closing'), false)
  })
})
