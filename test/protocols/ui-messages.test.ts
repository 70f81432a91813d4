import { readUIMessageStream, simulateReadableStream, streamText, type UIMessage, type UIMessageChunk } from 'ai'
import { MockLanguageModelV3 } from 'ai/test'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type SseSource } from '../../lib/index.ts'
import {
  uiMessageErrorHandler, uiMessageEvents, uiMessageHeaders, uiMessageOptions, uiMessages, type UIMessageSource
} from '../../lib/protocols/ai-sdk.ts'

async function bodyOf (t: Test, source: unknown): Promise<string> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  app.get('/', { schema: { sse: uiMessageEvents }, errorHandler: uiMessageErrorHandler }, (_request, reply) =>
    reply.headers(uiMessageHeaders).sse(source as SseSource<{ data: { type: 'start-step' } }>, uiMessageOptions))
  const response = await app.inject('/')
  if (response.statusCode === 200) t.equal(response.headers['x-vercel-ai-ui-message-stream'], 'v1')
  return response.body
}

/** The chunks of a stream, without the text `[DONE]` at its end. */
async function chunksOf (t: Test, source: unknown): Promise<unknown[]> {
  const frames = (await bodyOf(t, source)).split('\n\n').filter(Boolean)
  t.equal(frames.pop(), 'data: [DONE]')
  return frames.map(frame => JSON.parse(frame.replace(/^data: /, '')) as unknown)
}

const text = (id: string, ...deltas: string[]) => [{ type: 'text-start', id },
  ...deltas.map(delta => ({ type: 'text-delta', id, delta })), { type: 'text-end', id }]

t.test('tokens of text become one text between start and finish', async t => {
  t.strictSame(await chunksOf(t, uiMessages(['Hel', 'lo'])),
    [{ type: 'start' }, ...text('text-1', 'Hel', 'lo'), { type: 'finish' }])
  t.strictSame(await chunksOf(t, uiMessages([])), [{ type: 'start' }, { type: 'finish' }])
  t.strictSame(await chunksOf(t, uiMessages(async function * () { yield 'a' }, { messageId: 'm' })),
    [{ type: 'start', messageId: 'm' }, ...text('text-1', 'a'), { type: 'finish' }])
})

t.test('chunks stay as they are; only those that the source leaves out are added', async t => {
  const step = { type: 'start-step', x: [1, { y: null }] } as const
  const whole = [{ type: 'start', messageId: 'mine' } as const, step, { type: 'finish', finishReason: 'stop' } as const]
  t.strictSame(await chunksOf(t, uiMessages(whole, { messageId: 'm' })), whole)
  t.strictSame(await chunksOf(t, uiMessages([step], { messageId: 'm' })),
    [{ type: 'start', messageId: 'm' }, step, { type: 'finish' }])
  t.strictSame(await chunksOf(t, uiMessages([{ type: 'start' }, { type: 'abort' }], { messageId: 'm' })),
    [{ type: 'start', messageId: 'm' }, { type: 'abort' }])
  t.strictSame(await chunksOf(t, uiMessages([{ type: 'start' }, { type: 'error', errorText: 'mine' }])),
    [{ type: 'start' }, { type: 'error', errorText: 'mine' }])
  t.strictSame(await chunksOf(t, uiMessages(['a', step, 'b', { type: 'start' }])),
    [{ type: 'start' }, ...text('text-1', 'a'), step, ...text('text-2', 'b'), { type: 'start' }, { type: 'finish' }])
})

t.test('E2: a stream that fails ends with an error and without [DONE]', async t => {
  const failing = (error: Error) => uiMessages(async function * () {
    yield 'a'
    throw error
  })
  const start = 'data: {"type":"start"}\n\ndata: {"type":"text-start","id":"text-1"}\n\n' +
    'data: {"type":"text-delta","id":"text-1","delta":"a"}\n\n'
  t.equal(await bodyOf(t, failing(new Error('password of the database'))),
    `${start}data: {"type":"error","errorText":"Internal Server Error"}\n\n`)
  t.equal(await bodyOf(t, failing(Object.assign(new Error('Too many questions'), { statusCode: 429 }))),
    `${start}data: {"type":"error","errorText":"Too many questions"}\n\n`)
})

t.test('E2: the reply to a request that failed before its stream is a text', async t => {
  const failing = (error: Error) => uiMessages(async function * () { throw error })
  t.equal(await bodyOf(t, failing(new Error('password of the database'))), 'Internal Server Error')
  t.equal(await bodyOf(t, failing(Object.assign(new Error('Log in first'), { statusCode: 401 }))), 'Log in first')
})

t.test('an invalid chunk is not sent', async t => {
  for (const chunk of [{ type: 1 }, 7, null, {}]) {
    const body = await bodyOf(t, uiMessages([{ type: 'start' }, chunk as never]))
    t.equal(body, 'data: {"type":"start"}\n\ndata: {"type":"error","errorText":"Internal Server Error"}\n\n')
  }
})

/** Reads a response as the AI SDK does. */
async function read (app: FastifyInstance): Promise<UIMessage | undefined> {
  const { body } = await app.inject({ method: 'POST', url: '/' })
  const chunks = body.split('\n\n').filter(frame => frame.startsWith('data: {'))
    .map(frame => JSON.parse(frame.slice(6)) as UIMessageChunk)
  let message: UIMessage | undefined
  for await (const state of readUIMessageStream({ stream: simulateReadableStream({ chunks }) })) message = state
  return message
}

t.test('streamText().toUIMessageStream() is a source as it is', async t => {
  const model = new MockLanguageModelV3({
    doStream: async () => ({
      stream: simulateReadableStream({
        chunks: [
          { type: 'text-start', id: 't' },
          { type: 'text-delta', id: 't', delta: 'Hel' },
          { type: 'text-delta', id: 't', delta: 'lo' },
          { type: 'text-end', id: 't' },
          {
            type: 'finish',
            finishReason: { unified: 'stop', raw: 'stop' },
            usage: {
              inputTokens: { total: 1, noCache: 1, cacheRead: undefined, cacheWrite: undefined },
              outputTokens: { total: 1, text: 1, reasoning: undefined }
            }
          }
        ]
      })
    })
  })
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  app.post('/', { schema: { sse: uiMessageEvents } }, (_request, reply) => reply.sse(
    uiMessages(({ signal }) => streamText({ model, prompt: 'Hello', abortSignal: signal }).toUIMessageStream(), { messageId: 'm' }),
    uiMessageOptions
  ))
  t.match(await read(app), { id: 'm', role: 'assistant', parts: [{ type: 'step-start' }, { type: 'text', text: 'Hello', state: 'done' }] })
  // For the compiler: the stream of tokens is a source, too.
  const tokens: UIMessageSource = streamText({ model, prompt: 'Hello' }).textStream
  t.ok(tokens)
})
