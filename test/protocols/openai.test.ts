import { setTimeout as delay } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import OpenAI, { APIError } from 'openai'
import type { ResponseStreamEvent } from 'openai/resources/responses/responses'
import t, { type Test } from 'tap'
import sse, { asData, type CloseReport, type EventOf } from '../../lib/index.ts'
import {
  chatCompletionEvents, chatCompletionOptions, openAIErrorHandler, responseEvents, responseOptions, responses,
  type ChatCompletionChunk
} from '../../lib/protocols/openai.ts'
import { listen } from '../setup/listen.ts'
import { within } from '../setup/within.ts'

interface Server { app: FastifyInstance, client: OpenAI, url: string, logs: string[], closed: CloseReport[] }

/** A server with these routes, and the official client for it. */
async function server (t: Test, routes: (app: FastifyInstance) => void): Promise<Server> {
  const logs: string[] = []
  const closed: CloseReport[] = []
  const app = Fastify({ forceCloseConnections: true, logger: { stream: { write: line => { logs.push(line) } } } })
  await app.register(sse, { onClose: report => { closed.push(report) } })
  app.setErrorHandler(openAIErrorHandler)
  routes(app)
  const url = `http://127.0.0.1:${await listen(t, app)}/v1`
  return { app, url, logs, closed, client: new OpenAI({ baseURL: url, apiKey: 'key', maxRetries: 0 }) }
}

const HEAD = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1_700_000_000, model: 'm' } as const
const REQUEST = { model: 'm', stream: true as const, messages: [{ role: 'user' as const, content: 'Hello' }] }

const chunkOf = (
  delta: ChatCompletionChunk['choices'][number]['delta'],
  finish: 'stop' | null = null
): ChatCompletionChunk => ({ ...HEAD, choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }] })

const WORDS = ['Hel', 'lo', ' "two"\n', 'lines']

async function * completion (words = WORDS): AsyncGenerator<ChatCompletionChunk> {
  yield chunkOf({ role: 'assistant', content: '' })
  for (const content of words) yield chunkOf({ content })
  yield chunkOf({}, 'stop')
}

const chatSchema = { sse: chatCompletionEvents }
const route = (app: FastifyInstance, chunks: (signal: AbortSignal) => AsyncIterable<ChatCompletionChunk>): void => {
  app.post('/v1/chat/completions', { schema: chatSchema }, (request, reply) =>
    reply.sse(asData(chunks(request.signal)), chatCompletionOptions))
}

async function textOf (client: OpenAI): Promise<string> {
  let text = ''
  for await (const chunk of await client.chat.completions.create(REQUEST)) text += chunk.choices[0]?.delta.content ?? ''
  return text
}

t.test('the client of OpenAI reads a chat completion, chunk by chunk and as a whole', async t => {
  const { client, url, closed } = await server(t, app => route(app, () => completion()))
  t.equal(await textOf(client), WORDS.join(''))
  const whole = await client.chat.completions.stream(REQUEST).finalChatCompletion()
  t.match(whole.choices, [{ message: { role: 'assistant', content: WORDS.join('') }, finish_reason: 'stop' }])
  const wire = await (await fetch(`${url}/chat/completions`, { method: 'POST' })).text()
  const expected: string[] = []
  for await (const chunk of completion()) expected.push(`data: ${JSON.stringify(chunk)}\n\n`)
  t.equal(wire, `${expected.join('')}data: [DONE]\n\n`)
  t.match(closed, [{ reason: 'complete' }, { reason: 'complete' }, { reason: 'complete' }])
})

t.test('the chunks of another server pass with their unknown fields, and the client that leaves stops it', async t => {
  let stop: (reason: unknown) => void
  const stopped = new Promise<unknown>(resolve => { stop = resolve })
  const origin = await server(t, app => route(app, async function * (signal) {
    yield { ...chunkOf({ content: 'one' }), usage: null, x_filter: { results: [1, { a: null }] } } as ChatCompletionChunk
    yield { ...HEAD, choices: [], usage: { total_tokens: 1 } }
    await delay(60_000, undefined, { signal }).catch(() => stop(signal.reason))
  }))
  const proxy = await server(t, app => {
    app.post('/v1/chat/completions', { schema: chatSchema }, async (request, reply) => reply.sse(
      asData(await origin.client.chat.completions.create(REQUEST, { signal: request.signal })),
      chatCompletionOptions
    ))
  })
  const received: unknown[] = []
  for await (const chunk of await proxy.client.chat.completions.create(REQUEST)) {
    if (received.push(chunk) === 2) break
  }
  t.strictSame(received, [
    { ...chunkOf({ content: 'one' }), usage: null, x_filter: { results: [1, { a: null }] } },
    { ...HEAD, choices: [], usage: { total_tokens: 1 } }
  ])
  t.match(await within('the end of the origin', stopped), { name: 'AbortError', reason: 'client' })
})

t.test('E2: the client throws the error of a stream, without the text of an unexpected error', async t => {
  const { client, url, logs } = await server(t, app => route(app, async function * () {
    yield chunkOf({ content: 'one' })
    throw new Error('password of the database')
  }))
  await t.rejects(textOf(client), { name: 'Error', message: 'Internal Server Error (request req-1)', type: 'server_error' })
  t.equal(logs.filter(line => line.includes('password of the database')).length, 1)
  const failure = '{"error":{"message":"Internal Server Error (request req-2)","type":"server_error","param":null,"code":null}}'
  const wire = await (await fetch(`${url}/chat/completions`, { method: 'POST' })).text()
  t.equal(wire, `data: ${JSON.stringify(chunkOf({ content: 'one' }))}\n\ndata: ${failure}\n\n`)
  await t.rejects(client.chat.completions.stream(REQUEST).finalChatCompletion(), { message: /^Internal/, constructor: APIError })
})

const EXPECTED = [[400, 'invalid_request_error'], [401, 'authentication_error'], [403, 'permission_error'],
  [404, 'not_found_error'], [418, 'invalid_request_error'], [429, 'rate_limit_error']] as const

t.test('an error that is meant for the client has its own message, code, and the type of its status', async t => {
  const failing = (status: number): Error =>
    Object.assign(new Error('Not today'), { statusCode: status, code: 'mine' })
  for (const [status, type] of EXPECTED) {
    const late = await server(t, app => route(app, async function * () {
      yield chunkOf({ content: 'one' })
      throw failing(status)
    }))
    await t.rejects(textOf(late.client), { message: 'Not today', type, code: 'mine', status: undefined })
    const early = await server(t, app => route(app, async function * () { throw failing(status) }))
    await t.rejects(textOf(early.client), { message: `${status} Not today`, type, code: 'mine', status })
  }
})

t.test('E2: the client throws the error of a request that failed before its stream', async t => {
  const { client, logs } = await server(t, app => {
    route(app, async function * () { throw new Error('password of the database') })
    app.post('/v1/responses', { schema: { sse: responseEvents, body: { type: 'object', required: ['model'] } } },
      () => { throw 'password' }) // eslint-disable-line no-throw-literal
  })
  await t.rejects(textOf(client), {
    constructor: OpenAI.InternalServerError,
    message: '500 Internal Server Error (request req-1)',
    type: 'server_error'
  })
  await t.rejects(client.responses.create({ input: 'Hello' }), {
    constructor: OpenAI.BadRequestError,
    message: "400 body must have required property 'model'",
    type: 'invalid_request_error',
    code: 'FST_ERR_VALIDATION'
  })
  await t.rejects(client.responses.create({ input: 'Hello', model: 'm' }),
    { message: '500 Internal Server Error (request req-3)' })
  t.equal(logs.filter(line => line.includes('"level":50') && line.includes('password')).length, 2)
})

t.test('an invalid chunk is not sent, and the client throws', async t => {
  const { client, logs } = await server(t, app => route(app, async function * () {
    yield chunkOf({ content: 'one' })
    yield { ...HEAD, choices: 'none' } as never
  }))
  await t.rejects(textOf(client), { message: /^Internal Server Error/ })
  t.match(logs.join(''), /FST_SSE_DATA/)
})

t.test('at shutdown an answer ends', async t => {
  let say: (word: string) => void
  const word = new Promise<string>(resolve => { say = resolve })
  const { app, client } = await server(t, app => route(app, async function * () {
    yield chunkOf({ role: 'assistant', content: 'one' })
    yield chunkOf({ content: await word })
    yield chunkOf({}, 'stop')
  }))
  const stream = client.chat.completions.stream(REQUEST)
  await within('the first word', stream.emitted('content'))
  const closing = app.close()
  setImmediate(() => say(' two'))
  t.match((await stream.finalChatCompletion()).choices, [{ message: { content: 'one two' } }])
  await closing
})

// Responses

const RESPONSE = {
  id: 'resp_1',
  object: 'response',
  created_at: 1_700_000_000,
  model: 'm',
  status: 'in_progress',
  output: [] as object[],
  parallel_tool_calls: true,
  tools: []
}
const PART = { type: 'output_text', text: '', annotations: [] }
const at = { item_id: 'msg_1', output_index: 0, content_index: 0 }

async function * answer (words = ['Hel', 'lo']) {
  yield { type: 'response.created', response: RESPONSE } as const
  const item = { id: 'msg_1', type: 'message', role: 'assistant', status: 'in_progress', content: [] as object[] }
  yield { type: 'response.output_item.added', output_index: 0, item } as const
  yield { type: 'response.content_part.added', ...at, part: PART } as const
  for (const delta of words) yield { type: 'response.output_text.delta', ...at, delta, logprobs: [] } as const
  const output = [{ ...item, status: 'completed', content: [{ ...PART, text: words.join('') }] }]
  yield { type: 'response.completed', response: { ...RESPONSE, status: 'completed', output } } as const
}

const responseSchema = { sse: responseEvents }

t.test('the client of OpenAI reads a response; each event has its name and its number', async t => {
  const { client, url } = await server(t, app => {
    app.post('/v1/responses', { schema: responseSchema }, (_request, reply) =>
      reply.sse(responses(answer()), responseOptions))
  })
  const whole = await client.responses.stream({ model: 'm', input: 'Hello' }).finalResponse()
  t.match(whole, { status: 'completed', output_text: 'Hello' })
  const numbers: number[] = []
  for await (const event of await client.responses.create({ model: 'm', input: 'Hello', stream: true })) {
    numbers.push(event.sequence_number)
  }
  t.strictSame(numbers, [0, 1, 2, 3, 4, 5])
  const wire = await (await fetch(`${url}/responses`, { method: 'POST' })).text()
  t.match(wire, 'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":3,' +
    '"item_id":"msg_1","output_index":0,"content_index":0,"delta":"Hel","logprobs":[]}\n\n')
})

t.test('the numbers of a source stay, and unnumbered events go on from them', async t => {
  const { client } = await server(t, app => {
    app.post('/v1/responses', { schema: responseSchema }, (_request, reply) =>
      reply.sse(responses(({ signal }) => {
        t.equal(signal.aborted, false)
        return [
          { type: 'response.created', response: RESPONSE, sequence_number: 7 } as const,
          { type: 'response.in_progress', response: RESPONSE } as const,
          { type: 'response.failed', response: { ...RESPONSE, status: 'failed' } } as const
        ]
      }), responseOptions))
  })
  const events: ResponseStreamEvent[] = []
  for await (const event of await client.responses.create({ model: 'm', input: 'Hello', stream: true })) events.push(event)
  t.match(events, [{ sequence_number: 7 }, { sequence_number: 8 },
    { sequence_number: 9, type: 'response.failed', response: { status: 'failed' } }])
})

t.test('E2: the client throws the error of a response; the event has the next number', async t => {
  const failures = {
    thrown: async function * () {
      yield * answer()
      throw new Error('password of the database')
    },
    literal: async function * () {
      yield * answer()
      throw 'password' // eslint-disable-line no-throw-literal
    },
    invalid: async function * () {
      yield * answer()
      yield { type: 'response.completed', response: 'none', sequence_number: 'six' } as never
    },
    list: () => [{ type: 'response.created', response: 'none', sequence_number: 6, output_index: 1n } as never],
    expected: async function * () {
      yield * answer()
      throw Object.assign(new Error('Too many requests'), { statusCode: 429 })
    }
  }
  for (const [name, source] of Object.entries(failures)) {
    const { client, url } = await server(t, app => {
      app.post('/v1/responses', { schema: responseSchema }, (_request, reply) =>
        reply.sse(responses(source), responseOptions))
    })
    const expected = name === 'expected'
      ? { message: 'Too many requests', type: 'rate_limit_error' }
      : { message: /Internal Server Error \(request req-1\)/, type: 'server_error' }
    await t.rejects(client.responses.stream({ model: 'm', input: 'Hello' }).finalResponse(), expected, name)
    if (name === 'list') continue
    const wire = await (await fetch(`${url}/responses`, { method: 'POST' })).text()
    const { data } = /event: error\ndata: (?<data>.*)\n\n$/.exec(wire)!.groups!
    const { error, ...event } = JSON.parse(data!) as { error: object }
    t.match(error, { ...expected, param: null, message: String }, name)
    t.match(event, { type: 'error', code: null, message: (error as Error).message, param: null }, name)
    t.equal((event as unknown as { sequence_number: number }).sequence_number, 6, name)
    t.notMatch(wire, 'password')
  }
})

t.test('an error that is not of the source has the number 0', t => {
  t.match(responseOptions.errorEvent(new Error('x')), {
    event: 'error',
    data: { type: 'error', sequence_number: 0, message: 'Internal Server Error', code: null }
  })
  t.end()
})

t.test('a client that leaves stops the source of a response', async t => {
  let stopped: () => void
  const over = new Promise<void>(resolve => { stopped = resolve })
  const { client } = await server(t, app => {
    app.post('/v1/responses', { schema: responseSchema }, (_request, reply) => reply.sse(responses({
      [Symbol.asyncIterator]: (): Pick<ReturnType<typeof answer>, 'next' | 'return'> => {
        const inner = answer()
        let count = 0
        return {
          next: () => count++ < 3 ? inner.next() : new Promise<never>(() => {}),
          return: async () => {
            stopped()
            return { done: true as const, value: undefined }
          }
        }
      }
    }), responseOptions))
  })
  const stream = await client.responses.create({ model: 'm', input: 'Hello', stream: true })
  const names: string[] = []
  for await (const { type } of stream) if (names.push(type) === 3) break
  await within('the end of the source', over)
  t.equal(names.at(-1), 'response.content_part.added')
})

t.test('a channel carries an answer for clients that come later, and its error', async t => {
  const options = { events: chatCompletionEvents, start: 'earliest', errorEvent: chatCompletionOptions.errorEvent } as const
  const { app, client } = await server(t, app => {
    app.post<{ Params: { id: string } }>('/v1/:id/chat/completions', { schema: chatSchema }, (request, reply) =>
      reply.sse(app.sse.channel(request.params.id, options), chatCompletionOptions))
  })
  await app.sse.channel('good', options).publishFrom(asData(completion()))
  await app.sse.channel('bad', options).publishFrom(async function * (): AsyncGenerator<{ data: ChatCompletionChunk }> {
    yield * asData(completion())
    throw new Error('password')
  }).catch(() => {})
  const at = (id: string): OpenAI => client.withOptions({ baseURL: client.baseURL.replace('/v1', `/v1/${id}`) })
  t.equal(await textOf(at('good')), WORDS.join(''))
  await t.rejects(textOf(at('bad')), { message: 'Internal Server Error', type: 'server_error' })
})

// For the compiler: the type of an event in a generator.
export async function * typedAnswer (): AsyncGenerator<EventOf<typeof chatCompletionEvents>> {
  yield { data: chunkOf({ content: 'one' }) }
  yield { data: '[DONE]' }
}
