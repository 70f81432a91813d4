import { build } from 'esbuild'
import { customProvider, DefaultChatTransport, simulateReadableStream } from 'ai'
import { MockLanguageModelV3 } from 'ai/test'
import { chromium } from 'playwright-core'
import t from 'tap'
import { FLAGS } from '../setup/chromium.ts'
import { DocumentPrograms } from '../setup/document-programs.ts'
import { listen } from '../setup/listen.ts'
import { absent, CHROMIUM, need } from '../setup/programs.ts'

const document = new DocumentPrograms('lib/protocols/ai-sdk.md')
const question = { id: 'q', role: 'user' as const, parts: [{ type: 'text' as const, text: 'Hello' }] }

document.run({
  'A chat': [async (t, app) => {
    t.equal(await document.runClient('A chat', await listen(t, app)), 'Once upon a time\n')
    const headers = { cookie: 'user=other' }
    t.equal((await app.inject({ url: '/api/chat/chat-1/stream', headers })).statusCode, 403)
    t.equal((await app.inject('/api/chat/chat-2/stream')).statusCode, 403)
    t.equal((await app.inject('/api/chat/chat-1/stream')).statusCode, 204)
  }],
  'A model of the SDK': [async (t, app) => {
    const unknown = { total: 1, noCache: undefined, cacheRead: undefined, cacheWrite: undefined }
    const model = new MockLanguageModelV3({
      doStream: async () => ({
        stream: simulateReadableStream({
          chunks: [
            { type: 'text-start', id: 't' },
            { type: 'text-delta', id: 't', delta: 'Hello' },
            { type: 'text-end', id: 't' },
            {
              type: 'finish',
              finishReason: { unified: 'stop', raw: 'stop' },
              usage: { inputTokens: unknown, outputTokens: { total: 1, text: 1, reasoning: undefined } }
            }
          ]
        })
      })
    })
    // The SDK takes the model of a name from here.
    Object.assign(globalThis, {
      AI_SDK_DEFAULT_PROVIDER: customProvider({ languageModels: { 'openai/gpt-5-mini': model } })
    })
    const { saved } = await document.load<{ saved: Map<string, unknown> }>('convertToModelMessages')
    const { body } = await app.inject({
      method: 'POST',
      url: '/api/chat',
      payload: { id: 'c', messages: [question], trigger: 'submit-message' }
    })
    const [, id] = /"type":"start","messageId":"([\w-]+)"/.exec(body) ?? []
    t.match(body, '"type":"text-delta","id":"t","delta":"Hello"')
    t.match(body, /\ndata: \[DONE\]\n\n$/)
    t.match(saved.get('c'), [question, { id, role: 'assistant', parts: [{}, { type: 'text', text: 'Hello' }] }])
  }],
  'Routes of your own': [async (t, app) => {
    const { body, headers } = await app.inject({ method: 'POST', url: '/api/completion' })
    t.match(body, /^data: \{"type":"start"\}\n\n.*\n\n.*\n\n.*\n\n.*\n\n/)
    t.match(body, 'data: {"type":"data-source","data":{"page":7}}\n\ndata: {"type":"finish"}\n\ndata: [DONE]\n\n')
    t.equal(headers['x-vercel-ai-ui-message-stream'], 'v1')
  }]
})

t.test('the page asks, shows the answer, and stops it', { skip: absent(CHROMIUM) }, async t => {
  const { app } = await document.loadAgain<{ app: Parameters<typeof listen>[1] }>('chat(app')
  document.writeParts('chat(app')
  const contents = "import { createRoot } from 'react-dom/client'\nimport { Answers } from './component.tsx'\n" +
    "createRoot(document.querySelector('main')!).render(<Answers id='chat-1' />)\n"
  const { outputFiles: [bundle] } = await build({
    stdin: { contents, loader: 'tsx', resolveDir: document.folder },
    bundle: true,
    format: 'iife',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
    write: false
  })
  app.get('/', (_request, reply) =>
    reply.type('text/html').send('<!doctype html><link rel="icon" href="data:,"><main></main><script src="/page.js"></script>'))
  app.get('/page.js', (_request, reply) => reply.type('text/javascript').send(bundle!.text))
  const port = await listen(t, app)
  const browser = await chromium.launch({ executablePath: need(CHROMIUM), args: FLAGS })
  t.teardown(() => browser.close())
  const page = await browser.newPage()
  await page.goto(`http://127.0.0.1:${port}/`)
  await page.getByRole('button', { name: 'Ask' }).click()
  await page.locator('.assistant', { hasText: 'Once upon a time' }).waitFor()
  await page.locator('output', { hasText: 'ready' }).waitFor()
  await page.getByRole('button', { name: 'Ask' }).click()
  await page.locator('.assistant').nth(1).waitFor()
  await page.getByRole('button', { name: 'Stop' }).click()
  await page.locator('output', { hasText: 'ready' }).waitFor()
  const transport = new DefaultChatTransport({ api: `http://127.0.0.1:${port}/api/chat` })
  t.equal(await transport.reconnectToStream({ chatId: 'chat-1' }), null)
})
