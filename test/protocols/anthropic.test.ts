import { setTimeout as delay } from 'node:timers/promises'
import Anthropic from '@anthropic-ai/sdk'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { named, type PublishContext } from '../../lib/index.ts'
import {
  anthropicErrorHandler, messageEvents, messageOptions, type MessageStreamEvent
} from '../../lib/protocols/anthropic.ts'
import { listen } from '../setup/listen.ts'
import { within } from '../setup/within.ts'

interface Server { app: FastifyInstance, client: Anthropic, url: string, logs: string[] }
type Source = (context: PublishContext) => AsyncIterable<MessageStreamEvent>

/** A server with this model, and the official client for it. */
async function server (t: Test, source: Source): Promise<Server> {
  const logs: string[] = []
  const app = Fastify({ forceCloseConnections: true, logger: { stream: { write: line => { logs.push(line) } } } })
  await app.register(sse)
  const body = { type: 'object', required: ['model'] }
  app.post('/v1/messages', { schema: { body, sse: messageEvents }, errorHandler: anthropicErrorHandler },
    (_request, reply) => reply.sse(named(source), messageOptions))
  const url = `http://127.0.0.1:${await listen(t, app)}`
  return { app, url, logs, client: new Anthropic({ baseURL: url, apiKey: 'key', maxRetries: 0 }) }
}

const REQUEST = { model: 'm', max_tokens: 100, messages: [{ role: 'user' as const, content: 'Hello' }] }

async function * message (words = ['Hel', 'lo']): AsyncGenerator<MessageStreamEvent> {
  const usage = { input_tokens: 3, output_tokens: 1 }
  yield {
    type: 'message_start',
    message: { id: 'msg_1', type: 'message', role: 'assistant', model: 'm', content: [], usage }
  }
  yield { type: 'ping' }
  yield { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }
  for (const text of words) yield { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } }
  yield { type: 'content_block_stop', index: 0 }
  yield { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: { output_tokens: 2 } }
  yield { type: 'message_stop' }
}

t.test('the client of Anthropic reads a message; each event has its name', async t => {
  const { client, url } = await server(t, () => message())
  const whole = await client.messages.stream(REQUEST).finalMessage()
  t.match(whole, { id: 'msg_1', content: [{ type: 'text', text: 'Hello' }], stop_reason: 'end_turn' })
  const types: string[] = []
  for await (const { type } of await client.messages.create({ ...REQUEST, stream: true })) types.push(type)
  t.strictSame(types, ['message_start', 'content_block_start', 'content_block_delta', 'content_block_delta',
    'content_block_stop', 'message_delta', 'message_stop'])
  const headers = { 'content-type': 'application/json' }
  const wire = await (await fetch(`${url}/v1/messages`, { method: 'POST', headers, body: '{"model":"m"}' })).text()
  const expected: string[] = []
  for await (const event of message()) expected.push(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  t.equal(wire, expected.join(''))
})

t.test('the events of another server pass with their unknown fields, and the client that leaves stops it', async t => {
  let stop: (reason: unknown) => void
  const stopped = new Promise<unknown>(resolve => { stop = resolve })
  const delta = { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'one' }, x: [{ y: null }] }
  const origin = await server(t, async function * ({ signal }) {
    for await (const event of message([])) if (event.type !== 'content_block_stop') yield event; else break
    yield delta as MessageStreamEvent
    await delay(60_000, undefined, { signal }).catch(() => stop(signal.reason))
  })
  const proxy = await server(t, async function * ({ signal }) {
    yield * await origin.client.messages.create({ ...REQUEST, stream: true }, { signal })
  })
  const received: unknown[] = []
  for await (const event of await proxy.client.messages.create({ ...REQUEST, stream: true })) {
    received.push(event)
    if (event.type === 'content_block_delta') break
  }
  t.strictSame(received.at(-1), delta)
  t.match(await within('the end of the origin', stopped), { name: 'AbortError', reason: 'client' })
})

t.test('E2: the client throws the error of a stream, without the text of an unexpected error', async t => {
  const { client, url, logs } = await server(t, async function * () {
    yield * message()
    throw new Error('password of the database')
  })
  await t.rejects(client.messages.stream(REQUEST).finalMessage(), {
    message: /./,
    constructor: Anthropic.APIError,
    type: 'api_error',
    apiMessage: 'Internal Server Error',
    status: undefined
  })
  t.equal(logs.filter(line => line.includes('password of the database')).length, 1)
  const headers = { 'content-type': 'application/json' }
  const wire = await (await fetch(`${url}/v1/messages`, { method: 'POST', headers, body: '{"model":"m"}' })).text()
  t.match(wire, /event: message_stop\ndata: .*\n\nevent: error\ndata: (.*)\n\n$/)
  t.equal(/event: error\ndata: (.*)\n\n$/.exec(wire)?.[1],
    '{"type":"error","error":{"type":"api_error","message":"Internal Server Error"},"request_id":"req-2"}')
})

const EXPECTED = [[400, 'invalid_request_error'], [401, 'authentication_error'], [403, 'permission_error'],
  [404, 'not_found_error'], [413, 'request_too_large'], [418, 'invalid_request_error'], [429, 'rate_limit_error']] as const

t.test('an error that is meant for the client has its own message and the type of its status', async t => {
  for (const [statusCode, type] of EXPECTED) {
    const error = Object.assign(new Error('Not today'), { statusCode })
    const late = await server(t, async function * () {
      yield * message()
      throw error
    })
    await t.rejects(late.client.messages.stream(REQUEST).finalMessage(),
      { message: /./, type, apiMessage: 'Not today', status: undefined })
    const early = await server(t, async function * () { throw error })
    await t.rejects(early.client.messages.stream(REQUEST).finalMessage(),
      { message: /./, type, apiMessage: 'Not today', status: statusCode })
  }
})

t.test('E2: the client throws the error of a request that failed before its stream', async t => {
  for (const [statusCode, type, message] of [
    [undefined, 'api_error', 'Internal Server Error'],
    [502, 'api_error', 'Bad Gateway'],
    [503, 'overloaded_error', 'Service Unavailable']
  ] as const) {
    const { client, logs } = await server(t, async function * () {
      throw Object.assign(new Error('password of the database'), { statusCode })
    })
    await t.rejects(client.messages.create({ ...REQUEST, stream: true }),
      { message: /./, type, apiMessage: message, status: statusCode ?? 500 })
    t.match(logs.join(''), 'password of the database')
  }
  const { client } = await server(t, () => message())
  await t.rejects(client.messages.create({ ...REQUEST, model: undefined as never }),
    { message: /./, type: 'invalid_request_error', apiMessage: "body must have required property 'model'" })
})

t.test('an invalid event is not sent, and the client throws', async t => {
  const { client, logs } = await server(t, async function * () {
    yield * message()
    yield { type: 'content_block_delta', index: 'one' } as never
  })
  await t.rejects(client.messages.stream(REQUEST).finalMessage(), { message: /./, type: 'api_error' })
  t.match(logs.join(''), /FST_SSE_DATA/)
})

t.test('the error of a channel has no request id', t => {
  t.strictSame(messageOptions.errorEvent(new Error('password')), {
    event: 'error',
    data: { type: 'error', error: { type: 'api_error', message: 'Internal Server Error' }, request_id: null }
  })
  t.end()
})
