import t from 'tap'
import Fastify from 'fastify'
import sse, { withTexts } from '../../lib/index.ts'
import { connect } from '../../lib/client/connect.ts'
import { LineParser } from '../../lib/client/json-lines.ts'
import { StreamError } from '../../lib/client/stream-error.ts'
import { listen } from '../setup/listen.ts'
import { answers, Scripted } from '../setup/scripted.ts'

const encoder = new TextEncoder()

/** Parses bytes in pieces of a size. Returns the calls of the handlers. */
function parsed (text: string, size = Infinity, maxEventBytes = 1_000): unknown[] {
  const calls: unknown[] = []
  const parser = new LineParser({
    message: (...call) => { calls.push(call) },
    position: id => { calls.push({ id }) },
    retry: time => { calls.push({ retry: time }) },
    comment: text => { calls.push(text) }
  }, maxEventBytes, 'before', StreamError)
  const bytes = encoder.encode(text)
  for (let start = 0; start < bytes.length; start += size) parser.feed(bytes.subarray(start, start + size))
  return calls
}

t.test('W2: any cut reads the same', async t => {
  const text = '{"data":"é€😀"}\n\n{"event":"a","id":"1","retry":5,"data":{"b":[1]}}\r\n{"data":null}\n' +
    '{"event":"sse.position","id":"2","data":""}\n{"event":"sse.position","data":""}\n{"retry":7}\n{"data":false}\n{"data":'
  const calls = parsed(text)
  t.strictSame(calls, [
    ['message', 'é€😀', 'before', false, 'é€😀'],
    '',
    { retry: 5 },
    ['a', '{"b":[1]}', '1', true, { b: [1] }],
    ['message', 'null', '1', false, null],
    { id: '2' },
    { retry: 7 },
    ['message', 'false', '2', false, false]
  ])
  for (const size of [1, 2, 3, 7]) t.strictSame(parsed(text, size), calls, `pieces of ${size} bytes`)
})

t.test('a line that is no event, or too large, is an error', async t => {
  for (const line of ['x', '1', '"text"', 'null', '[]', '[{"data":1}]', '{"data":1']) {
    t.throws(() => parsed(`${line}\n`), { code: 'FST_SSE_INVALID_EVENT', data: line })
  }
  for (const fields of ['"id":5', '"id":null', '"event":null', '"event":1', '"retry":"5"', '"retry":-1', '"retry":1.5',
    '"retry":1e400', '"retry":null']) {
    const line = `{${fields},"data":1}`
    t.throws(() => parsed(`${line}\n`), { code: 'FST_SSE_INVALID_EVENT', data: line })
  }
  const large = `{"data":"${'é'.repeat(500)}"}`
  for (const text of [large, `${large}\n`]) {
    for (const size of [1, 100, Infinity]) t.throws(() => parsed(text, size), { code: 'FST_SSE_EVENT_SIZE' })
  }
  t.equal(parsed(`${'{"data":1}\n'.repeat(1_000)}`).length, 1_000, 'the limit is of each line')
})

t.test('an empty name is that of a message', t => {
  t.strictSame(parsed('{"event":"","data":1}\n'), [['message', '1', 'before', false, 1]])
  t.end()
})

const events = {
  text: { type: 'string' },
  value: { type: ['string', 'number', 'null'] },
  chunk: withTexts({ type: 'object', properties: { n: { type: 'number' } } } as const, '[DONE]')
} as const

const SENT = [
  { event: 'text', data: '{"a":1}' },
  { event: 'value', data: 'text' },
  { event: 'value', data: 1 },
  { event: 'value', data: null },
  { event: 'chunk', data: { n: 1 } },
  { event: 'chunk', data: '[DONE]' }
] as const

t.test('connect reads the same events from JSON lines as from Server-Sent Events', async t => {
  const app = Fastify()
  await app.register(sse, { formats: ['event-stream', 'ndjson'] })
  app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse(SENT, { finite: true }))
  app.get('/error', (_request, reply) => reply.sse((function * () {
    yield { data: 1 }
    throw Object.assign(new Error('No more'), { statusCode: 404 })
  })()))
  const url = `http://127.0.0.1:${await listen(t, app)}`
  for (const accept of ['text/event-stream', 'application/x-ndjson', 'application/jsonl']) {
    const stream = connect(url, { events, headers: { accept } })
    const received = []
    for await (const { event, data } of stream) received.push({ event, data })
    t.strictSame(received, SENT, accept)
    t.strictSame(await stream.closed, { reason: 'complete' }, 'at the mark of the end')

    const raw = []
    for await (const event of connect(url, { headers: { accept } })) raw.push(event)
    // Without a map, a string is its text in every line.
    const text = accept === 'text/event-stream' ? '"text"' : 'text'
    t.strictSame(raw.map(({ data }) => data), ['{"a":1}', text, '1', 'null', '{"n":1}', '[DONE]'])

    const failing = connect(`${url}/error`, { events: { message: 'json' }, headers: { accept } })
    failing.on('message', () => {})
    t.match(await failing.closed, { error: { code: 'FST_SSE_SERVER_ERROR', message: 'The server failed: No more' } })
  }
})

t.test('connect resumes a stream of JSON lines after the last id, and waits for the delay of the server', async t => {
  const type = { 'content-type': 'application/x-ndjson' }
  const server = await Scripted.start(t,
    answers(200, type, '{"retry":1}\n{"id":"7","data":1}\n{"id":"8","data'),
    answers(200, type, '{"id":"8","data":2}\n{"event":"sse.position","id":"sse.end","data":""}\n'))
  const received = []
  for await (const { data, id } of connect(server.url)) received.push([id, data])
  t.strictSame(received, [['7', '1'], ['8', '2']])
  t.equal((await server.request(2)).headers['last-event-id'], '7')
})
