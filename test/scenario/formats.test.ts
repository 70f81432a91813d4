import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import http2 from 'node:http2'
import { createParser } from 'eventsource-parser'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type AnyEvent, type CloseReport, type OpenReport, type RegisterOptions } from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { absent, CURL, JQ, need } from '../setup/programs.ts'
import { open, type RawClient, type RawRequest, type RawResponse } from '../setup/raw.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

// One table of tests for all formats, over real sockets.

const FORMATS = [
  ['event-stream', 'text/event-stream', 'text/event-stream; charset=utf-8'],
  ['ndjson', 'application/x-ndjson', 'application/x-ndjson'],
  ['ndjson', 'application/jsonl', 'application/jsonl'],
  ['json', 'application/json', 'application/json; charset=utf-8']
] as const
type Format = typeof FORMATS[number][0]

interface Received { event: string, id: string | undefined, data: unknown }
interface Line { event?: string, id?: string, data?: unknown, retry?: number }

const toReceived = ({ event = 'message', id, data }: Line): Received => ({ event, id, data })
/** The data of Server-Sent Events is text: it is parsed where it is JSON. */
function valueOf (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** Returns the events of a body. */
function eventsIn (format: Format, text: string): Received[] {
  if (format === 'json') return (JSON.parse(text) as Line[]).map(toReceived)
  if (format === 'ndjson') {
    return text.split('\n').filter(line => line !== '').map(line => JSON.parse(line) as Line)
      .filter(({ data }) => data !== undefined).map(toReceived)
  }
  const events: Received[] = []
  createParser({
    onEvent: ({ event = 'message', id, data }) => { events.push({ event, id, data: valueOf(data) }) }
  }).feed(text)
  return events
}

interface Served {
  app: FastifyInstance
  port: number
  opened: OpenReport[]
  closed: CloseReport[]
}

async function serve (
  t: Test,
  routes: (app: FastifyInstance) => void,
  options: RegisterOptions = {}
): Promise<Served> {
  const [opened, closed]: [OpenReport[], CloseReport[]] = [[], []]
  const app = Fastify()
  await app.register(sse, {
    formats: ['event-stream', 'ndjson', 'json'],
    onOpen: report => { opened.push(report) },
    onClose: report => { closed.push(report) },
    ...options
  })
  routes(app)
  return { app, port: await listen(t, app), opened, closed }
}

async function request (
  t: Test,
  port: number,
  path: string,
  accept: string,
  more: RawRequest = {}
): Promise<RawClient> {
  const client = await open(port, { ...more, path, headers: { accept, connection: 'close', ...more.headers } })
  t.teardown(() => client.socket.destroy())
  return client
}

async function responseTo (
  t: Test,
  port: number,
  path: string,
  accept: string,
  more: RawRequest = {}
): Promise<RawResponse> {
  const client = await request(t, port, path, accept, more)
  await within(`the end of ${path}`, client.closed)
  return client.responses()[0]!
}

/** Runs a test once for each type. */
function each (title: string, run: (t: Test, format: Format, accept: string, type: string) => Promise<void>): void {
  t.test(title, async t => {
    for (const [format, accept, type] of FORMATS) await t.test(accept, t => run(t, format, accept, type))
  })
}

const MAP = { text: { type: 'string' }, number: { type: 'number' }, message: {} } as const
const EVENTS: AnyEvent[] = [{ event: 'text', id: 1, data: '{"a":1}\né\u2028' }, { event: 'number', data: 1.5 }, {
  data: { a: [null, false, 0, ''] }
}, { data: 'text' }]

each('the events, their ids and their data are the same, and the head tells the type', async (t, format, accept, type) => {
  const { port, opened, closed } = await serve(t, app => {
    app.get('/', { schema: { sse: MAP } }, (_request, reply) => reply.sse(EVENTS as never))
  })
  const { status, headers, body, complete } = await responseTo(t, port, '/', accept)
  t.strictSame([status, headers['content-type'], headers.vary, headers['cache-control'], complete],
    [200, type, 'Accept', 'no-cache, no-transform', true])
  const received = eventsIn(format, body)
  const [text, ...others] = received
  t.equal(text!.id, '1')
  t.strictSame(others.map(({ data }) => data), [1.5, { a: [null, false, 0, ''] }, 'text'])
  t.strictSame(received.map(({ event }) => event), ['text', 'number', 'message', 'message'])
  if (format !== 'event-stream') t.equal(text!.data, '{"a":1}\né\u2028', 'text is exact, and never JSON')
  await until('the report', () => closed.length === 1)
  t.match(closed[0], { reason: 'complete', events: 4, bytes: Buffer.byteLength(body), lastEventId: '1' })
  t.equal(opened.length, 1)
})

each('an empty source has an empty body of its form', async (t, format, accept) => {
  const { port } = await serve(t, app => { app.get('/', (_request, reply) => reply.sse([])) })
  const { body, status } = await responseTo(t, port, '/', accept)
  t.strictSame([status, body], [200, format === 'json' ? '[]\n' : ''])
})

each('an error before the head is an ordinary one, after it the last event', async (t, format, accept) => {
  const { port, closed } = await serve(t, app => {
    const source = function * (events: AnyEvent[]): Generator<AnyEvent> {
      yield * events
      throw new Error('lost')
    }
    app.get('/before', (_request, reply) => reply.sse(source([])))
    app.get('/after', (_request, reply) => reply.sse(source([{ data: 1 }])))
    app.get('/none', (_request, reply) => reply.sse(source([{ data: 1 }]), { errorEvent: null }))
  })
  const before = await responseTo(t, port, '/before', accept)
  t.strictSame([before.status, before.headers['content-type']], [500, 'application/json; charset=utf-8'])
  t.match(eventsIn(format, (await responseTo(t, port, '/after', accept)).body), [{ data: 1 }, {
    event: 'error',
    data: { status: 500, title: 'Internal Server Error' }
  }])
  t.strictSame(eventsIn(format, (await responseTo(t, port, '/none', accept)).body).map(({ data }) => data), [1])
  await until('the reports', () => closed.length === 3)
  t.strictSame(closed.map(({ reason }) => reason), ['error', 'error', 'error'])
})

each('an invalid event is skipped or ends the stream, as onInvalid decides', async (t, format, accept) => {
  const { port } = await serve(t, app => {
    const schema = { sse: MAP }
    const source = [{ event: 'text', data: 'a' }, { event: 'number', data: 'b' }, { event: 'text', data: 'c' }] as never
    app.get('/skip', { schema }, (_request, reply) => reply.sse(source, { onInvalid: 'skip' }))
    app.get('/error', { schema }, (_request, reply) => reply.sse(source))
  })
  t.strictSame(eventsIn(format, (await responseTo(t, port, '/skip', accept)).body).map(({ data }) => data), ['a', 'c'])
  t.match(eventsIn(format, (await responseTo(t, port, '/error', accept)).body), [{ data: 'a' }, { event: 'error' }])
})

each('end and finite mark a clean end, and a client that has all gets 204', async (t, format, accept) => {
  const { port, opened } = await serve(t, app => {
    app.get('/', (_request, reply) => reply.sse([{ data: 1 }], { end: { data: '[DONE]' }, finite: true, retry: 5 }))
  })
  t.strictSame(eventsIn(format, (await responseTo(t, port, '/', accept)).body), [
    { event: 'message', id: undefined, data: 1 },
    { event: 'message', id: undefined, data: '[DONE]' },
    { event: 'sse.position', id: 'sse.end', data: '' }
  ])
  const over = await responseTo(t, port, '/', accept, { headers: { 'last-event-id': 'sse.end' } })
  t.strictSame([over.status, over.body], [204, ''])
  t.equal(opened.length, 1)
})

each('HEAD has the head and no body, and its source is not read', async (t, _format, accept, type) => {
  let read = false
  const { port, closed } = await serve(t, app => {
    app.get('/', (_request, reply) => reply.sse(() => {
      read = true
      return []
    }))
  })
  const { status, headers, body } = await responseTo(t, port, '/', accept, { method: 'HEAD' })
  t.strictSame([status, headers['content-type'], headers.vary, body, read, closed.length], [200, type, 'Accept', '',
    false, 0])
})

each('a heartbeat keeps a silent stream alive, and the head goes out without an event', async (t, format, accept) => {
  let go = (): void => {}
  const { port } = await serve(t, app => {
    app.get('/', (_request, reply) => reply.sse(async function * () {
      await new Promise<void>(resolve => { go = resolve })
      yield { data: 1 }
    }))
  }, { heartbeatInterval: 20 })
  const client = await request(t, port, '/', accept)
  const beat = format === 'event-stream' ? ':\n\n' : '\n'
  await until('heartbeats', () => (client.responses()[0]?.body ?? '').startsWith(beat.repeat(3)))
  go()
  await within('the end', client.closed)
  const { body } = client.responses()[0]!
  t.match(body, format === 'event-stream' ? /^(:\n\n){3,}data: 1/ : /^\n{3,}[[{]/)
  t.strictSame(eventsIn(format, body).map(({ data }) => data), [1])
})

each('a disconnect stops the source within 50 ms', async (t, _format, accept) => {
  let aborted = 0
  const { port, closed } = await serve(t, app => {
    app.get('/', (_request, reply) => reply.sse(async function * ({ signal }) {
      signal.addEventListener('abort', () => { aborted = performance.now() })
      yield { data: 1 }
      await new Promise(() => {})
    }))
  })
  const client = await request(t, port, '/', accept)
  await client.until('1')
  const left = performance.now()
  client.socket.destroy()
  await until('the abort', () => aborted > 0)
  t.ok(aborted - left < 50 * (process.env.CI === 'true' ? 10 : 1), `${aborted - left} ms`)
  await until('the report', () => closed.length === 1)
  t.match(closed[0], { reason: 'client', events: 1 })
})

each('a client that does not read stops the source, and is cut off after stallTimeout', async (t, _format, accept) => {
  let yielded = 0
  const { port, closed, app } = await serve(t, app => {
    app.get('/', (_request, reply) => reply.sse(function * () {
      for (;;) {
        yielded++
        yield { data: 'x'.repeat(10_000) }
      }
    }))
  }, { stallTimeout: 500 })
  await request(t, port, '/', accept, { pauseOnConnect: true })
  await until('the stall', () => app.sse.streams().some(({ stalled }) => stalled))
  const before = yielded
  await delay(100)
  t.equal(yielded, before)
  await until('the report', () => closed.length === 1)
  t.equal(closed[0]!.reason, 'stalled')
})

each('limits reject, and a lifetime, a revocation and the shutdown end a stream', async (t, format, accept) => {
  const { app, port, closed } = await serve(t, app => {
    const endless = async function * (): AsyncGenerator<AnyEvent> {
      yield { data: 1 }
      await new Promise(() => {})
    }
    app.get('/', (_request, reply) => reply.sse(endless()))
    app.get('/lifetime', (_request, reply) => reply.sse(endless(), { maxLifetime: 1 }))
    app.get('/revoked', (_request, reply) => reply.sse(endless(), { reauthorize: () => false, reauthorizeInterval: 1 }))
  }, { limits: { maxStreams: 1 }, reconnectWindow: 1 })
  const lifetime = eventsIn(format, (await responseTo(t, port, '/lifetime', accept)).body)
  const revoked = eventsIn(format, (await responseTo(t, port, '/revoked', accept)).body)
  t.match(revoked, [{ data: 1 }, { event: 'error', data: { status: 403 } }])
  const client = await request(t, port, '/', accept)
  await client.until('1')
  const rejected = await responseTo(t, port, '/', `${accept}, x/y`)
  t.strictSame([rejected.status, rejected.headers['content-type']], [503, 'application/problem+json; charset=utf-8'])
  await app.close()
  await within('the end', client.closed)
  const shutdown = eventsIn(format, client.responses()[0]!.body)
  // Nothing else tells a client of an array that it is not complete.
  const cut = format === 'json' ? [{ data: 1 }, { event: 'error', data: { status: 503 } }] : [{ data: 1 }]
  for (const events of [lifetime, shutdown]) {
    t.match(events, cut)
    t.equal(events.length, cut.length)
  }
  t.strictSame(closed.map(({ reason }) => reason), ['expired', 'revoked', 'shutdown'])
})

each('an onSend hook gets the body, and may replace it', async (t, format, accept, type) => {
  const { port } = await serve(t, app => {
    app.addHook('onSend', async (_request, reply, payload) => {
      reply.header('x-hook', String(reply.getHeader('content-type')))
      return payload
    })
    app.get('/', (_request, reply) => reply.sse([{ data: 1 }, { data: 2 }]))
  })
  const { headers, body } = await responseTo(t, port, '/', accept)
  t.equal(headers['x-hook'], type)
  t.strictSame(eventsIn(format, body).map(({ data }) => data), [1, 2])
})

each('over HTTP/2', async (t, format, accept, type) => {
  const app = Fastify({ http2: true })
  await app.register(sse, { formats: ['event-stream', 'ndjson', 'json'] })
  app.get('/', (_request, reply) => reply.sse([{ data: 1 }, { data: { b: 'é' } }]))
  const port = await listen(t, app as unknown as FastifyInstance)
  const session = http2.connect(`http://127.0.0.1:${port}`)
  t.teardown(() => session.destroy())
  const stream = session.request({ ':path': '/', accept })
  const [headers] = await once(stream, 'response') as [http2.IncomingHttpHeaders]
  t.equal(headers['content-type'], type)
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  const body = String(Buffer.concat(chunks))
  t.strictSame(eventsIn(format, body).map(({ data }) => data), [1, { b: 'é' }])
})

t.test('a client that accepts none gets 406 with the types, and its source is disposed of', async t => {
  const source = new ReadableStream()
  const { port, opened, closed, app } = await serve(t, app => {
    app.get('/', (_request, reply) => reply.sse(source as ReadableStream<AnyEvent>))
    app.get('/own', (_request, reply) => reply.sse([{ data: 1 }], { formats: ['event-stream'] }))
  })
  const { status, body, headers } = await responseTo(t, port, '/', 'text/html')
  t.strictSame([status, headers.vary], [406, 'Accept'])
  t.match(JSON.parse(body), { code: 'FST_SSE_NOT_ACCEPTABLE', message: /application\/x-ndjson/ })
  t.ok(source.locked, 'it was canceled by the reader of a source')
  t.equal((await responseTo(t, port, '/own', 'text/html')).status, 200, 'the option of the stream counts')
  t.equal((await responseTo(t, port, '/?wait=x', 'application/json')).status, 400)
  t.strictSame([opened.length, closed.length, app.sse.stats().streams.open], [1, 1, 0])
})

each('a stream of a channel: positions, replay, live events, its end, and 204', async (t, format, accept) => {
  const { app, port } = await serve(t, app => {
    app.get('/', (_request, reply) => reply.sse(app.sse.channel('news')))
  })
  const news = app.sse.channel('news')
  const ids = [await news.publish({ event: 'a', data: { n: 1 } }), await news.publish({ data: 'text' })]
  const client = await request(t, port, '/', accept, { headers: { 'last-event-id': ids[0]! } })
  await client.until(ids[1]!)
  if (format === 'json') await within('the answer', client.closed)
  else {
    ids.push(await news.publish({ data: 3 }), await news.publish({ data: 4 }))
    await client.until(ids[3]!)
    await news.end()
    await within('the end', client.closed)
  }
  const values = ['text', 3, 4].slice(0, ids.length - 1)
  t.strictSame(eventsIn(format, client.responses()[0]!.body), [{ event: 'sse.position', id: ids[0], data: '' },
    ...values.map((data, index) => ({ event: 'message', id: ids[index + 1], data }))])
  if (format === 'json') await news.end()
  const over = await responseTo(t, port, '/', accept, { headers: { 'last-event-id': ids.at(-1)! } })
  t.strictSame([over.status, over.body], [204, ''])
  const reset = await request(t, port, '/', accept, { headers: { 'last-event-id': 'other-1' } })
  await within('the end', reset.closed)
  t.match(eventsIn(format, reset.responses()[0]!.body), [{ event: 'sse.reset', data: { reason: 'unknown' } }])
})

each('filters, maps, snapshots and notices of channels', async (t, format, accept) => {
  const { app, port } = await serve(t, app => {
    const news = app.sse.channel('news', { history: { maxEvents: 2 } })
    app.get('/', (_request, reply) => reply.sse(news.subscribe({
      start: 'earliest',
      filter: ({ data }) => data !== 2,
      map: ({ data }) => ({ event: 'mapped', data: { data } })
    })))
    app.get('/snapshot', (_request, reply) => reply.sse(news.subscribe({ snapshot: () => ({ data: 'state' }) })))
    app.get('/null', (_request, reply) => reply.sse(news.subscribe({ start: 'earliest' }), { systemEvent: null }))
    app.get('/own', (_request, reply) => reply.sse(news.subscribe({ start: 'earliest' }),
      { systemEvent: ({ event }) => ({ event: 'own', data: event }) }))
  })
  const news = app.sse.channel('news', { history: { maxEvents: 2 } })
  const ids: string[] = []
  for (const data of [1, 2, 3]) ids.push(await news.publish({ data }))
  const read = async (path: string): Promise<Received[]> => {
    const client = await request(t, port, path, accept)
    if (format !== 'json') {
      await client.until(path === '/snapshot' ? 'state' : ids[2]!)
      client.socket.destroy()
    }
    await within('the end', client.closed)
    return eventsIn(format, client.responses()[0]!.body)
  }
  const position = ids[0]!.replace(/1$/, '2')
  t.match(await read('/'), [
    { event: 'sse.gap', data: { dropped: 1 }, id: ids[0] },
    { event: 'sse.position', id: position },
    { event: 'mapped', data: { data: 3 }, id: ids[2] }
  ])
  t.match(await read('/snapshot'), [{ event: 'message', data: 'state', id: ids[2] }])
  t.match(await read('/own'), [{ event: 'own', data: 'sse.gap' }, { data: 2 }, { data: 3, id: ids[2] }])
  // The position is the only way to the next answer.
  t.match(await read('/null'), [...format === 'json' ? [{ event: 'sse.position', id: ids[0] }] : [], { data: 2 }, {
    data: 3
  }])
})

t.test('read by curl and jq, line by line', { skip: absent(CURL, JQ) }, async t => {
  let next = (): void => {}
  const { port } = await serve(t, app => {
    app.get('/', (_request, reply) => reply.sse(async function * () {
      for (const data of [{ n: 1 }, 'two', 3, null]) {
        yield { event: 'tick', data }
        await new Promise<void>(resolve => { next = resolve })
      }
    }))
  })
  const command = `"${need(CURL)}" -sN -H 'Accept: application/x-ndjson' http://127.0.0.1:${port}/ | "${need(JQ)}" --unbuffered -c .data`
  const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'pipe', 'inherit'] })
  let printed = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { printed += text })
  for (const expected of ['{"n":1}\n', '"two"\n', '3\n', 'null\n']) {
    await until(expected, () => printed.endsWith(expected))
    next()
  }
  await once(child, 'close')
  t.equal(printed, '{"n":1}\n"two"\n3\nnull\n')
})

t.test('read by fetch of Node, line by line', async t => {
  let next = (): void => {}
  const { port } = await serve(t, app => {
    app.get('/', (_request, reply) => reply.sse(async function * () {
      for (let n = 1; n <= 3; n++) {
        yield { data: n }
        await new Promise<void>(resolve => { next = resolve })
      }
    }))
  })
  const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { accept: 'application/x-ndjson' } })
  const received: unknown[] = []
  for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
    received.push(...text.trim().split('\n').map(line => (JSON.parse(line) as Line).data))
    next()
  }
  t.strictSame(received, [1, 2, 3])
  const all = await fetch(`http://127.0.0.1:${port}/`, { headers: { accept: 'application/json' } })
  const timer = setInterval(() => next(), 5)
  t.strictSame(await all.json(), [{ data: 1 }, { data: 2 }, { data: 3 }])
  clearInterval(timer)
})
