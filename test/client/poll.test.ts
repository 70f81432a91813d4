import { getEventListeners } from 'node:events'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse from '../../lib/index.ts'
import { connect } from '../../lib/client/connect.ts'
import { withPolling } from '../../lib/client/poll.ts'
import type { Fetch } from '../../lib/client/request.ts'
import { listen } from '../setup/listen.ts'
import { answers, Scripted, streams, type Answer } from '../setup/scripted.ts'
import { keepsAll, passes, toyProxy } from '../setup/toy-proxy.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

// Each test waits for a swallowed stream, for long enough on a busy machine.
t.setTimeout(300_000)

const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8' }
const END = '{"event":"sse.position","id":"sse.end","data":""}'

/** A server with a channel, whose route has all formats. */
async function serve (t: Test): Promise<{ app: FastifyInstance, port: number }> {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse, { formats: ['event-stream', 'json'] })
  app.get('/', (_request, reply) => reply.sse(app.sse.channel('news')))
  app.post('/', (_request, reply) => reply.sse([{ data: 'posted' }], { finite: true }))
  return { app, port: await listen(t, app) }
}

/** Counts the requests by the type that they accept. */
function counting (): { fetch: Fetch, urls: string[] } {
  const urls: string[] = []
  return {
    urls,
    fetch: (url, init) => {
      urls.push(`${new Headers(init.headers).get('accept')} ${new URL(url).search}`)
      return fetch(url, init)
    }
  }
}

t.test('a path that swallows event streams: every event once, in order', async t => {
  const { app, port } = await serve(t)
  const news = app.sse.channel('news')
  const { fetch, urls } = counting()
  const stream = connect(await toyProxy(t, port, keepsAll), { fetch: withPolling({ fetch, after: 1_500, wait: 1 }) })
  const states: string[] = []
  const received: number[] = []
  const publish = async (): Promise<void> => {
    // Then the client has a position.
    await until('the second poll', () => urls.length >= 3)
    for (let n = 1; n <= 20; n++) {
      await news.publish({ data: n })
      if (n % 4 === 0) await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
  const publishing = publish()
  for await (const { data } of stream) {
    received.push(Number(data))
    if (!states.includes(stream.state)) states.push(stream.state)
    if (received.at(-1) === 20) break
  }
  await publishing
  t.strictSame(received, Array.from({ length: 20 }, (_, index) => index + 1))
  t.strictSame(states, ['live'])
  t.strictSame(urls.slice(0, 2), ['text/event-stream, */* ', 'application/json ?wait=1'])
})

t.test('a path that passes event streams is not polled', async t => {
  const { app, port } = await serve(t)
  const { fetch, urls } = counting()
  const url = await toyProxy(t, port, passes)
  const stream = connect(url, { fetch: withPolling({ fetch }) })
  stream.on('message', () => stream.close())
  await until('the stream', () => app.sse.channel('news').subscribers === 1)
  await app.sse.channel('news').publish({ data: 1 })
  t.match(await stream.closed, { reason: 'closed' })
  const posted = connect(url, { method: 'POST', fetch: withPolling({ fetch, after: 1 }) })
  const events = []
  for await (const { data } of posted) events.push(data)
  t.strictSame(events, ['posted'], 'a POST is never repeated')
  t.strictSame(urls, Array(2).fill('text/event-stream, */* '))
})

/** Reads a scripted server with `withPolling`, whose first answer is swallowed. Returns the data and the requests. */
async function read (
  t: Test,
  script: Answer[],
  { url = (base: string) => base, onError }: {
    url?: (base: string) => string
    onError?: (code: string) => boolean
  } = {}
): Promise<{ data: string[], asked: string[], result: string, codes: string[] }> {
  const server = await Scripted.start(t, streams(), ...script)
  const codes: string[] = []
  const stream = connect(url(server.url), {
    fetch: withPolling({ after: 1_500, wait: 0.1 }),
    retryDelay: 1,
    onError: error => {
      codes.push(`${error.code} ${error.status ?? ''}`)
      return onError?.(error.code)
    }
  })
  const data: string[] = []
  stream.on('message', event => { data.push(event.data) })
  const { reason } = await within('the end', stream.closed)
  const asked = server.asked.map(({ url, headers }) => `${url} ${headers['last-event-id'] ?? '-'}`)
  return { data, asked, result: reason, codes }
}

t.test('each poll continues after the last id, and keeps the query', async t => {
  const { data, asked, result } = await read(t, [
    answers(200, JSON_TYPE, '[{"id":"1","data":1}\n,{"id":"2","data":2}\n,{"data":3}\n]\n'),
    answers(200, JSON_TYPE, '\n[{"event":"sse.position","id":"3","data":""}\n]\n'),
    answers(200, JSON_TYPE, `[${END}\n]\n`)
  ], { url: base => `${base}?a=b#part` })
  t.strictSame([data, result], [['1', '2', '3'], 'complete'])
  t.strictSame(asked, ['/?a=b -', '/?a=b&wait=0.1 -', '/?a=b&wait=0.1 2', '/?a=b&wait=0.1 3'])
})

t.test('an id keeps its characters in each request', async t => {
  const ids = ['é', 'Ã©', '€ 😀']
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse, { formats: ['event-stream', 'json'] })
  const asked: unknown[] = []
  app.get('/', (request, reply) => {
    asked.push(request.lastEventId)
    const id = ids[ids.indexOf(request.lastEventId ?? '') + 1]
    return reply.sse(id === undefined ? [] : [{ id, data: 1 }], { finite: id === undefined })
  })
  const url = await toyProxy(t, await listen(t, app), keepsAll)
  const swallowed: Fetch = async (url, init) =>
    /stream/.test(new Headers(init.headers).get('accept')!) ? new Promise(() => {}) : fetch(url, init)
  const errors: unknown[] = []
  const stream = connect(url, {
    fetch: withPolling({ fetch: swallowed, after: 1_000, wait: 1 }),
    onError: error => { errors.push(error) }
  })
  const received: string[] = []
  stream.on('message', ({ id }) => { received.push(id) })
  t.strictSame(await within('the end', stream.closed), { reason: 'complete' })
  t.strictSame([received, asked, errors], [ids, [undefined, ...ids], []])
})

t.test('many answers leave nothing behind at the signal', async t => {
  let listeners = 0
  let polls = 0
  const answer = (n: number): Response =>
    new Response(n < 50 ? `[{"id":"${n}","data":${n}}\n]\n` : `[${END}\n]\n`, { headers: JSON_TYPE })
  const scripted: Fetch = async (_url, { signal, headers }) => {
    if (!/json/.test(new Headers(headers).get('accept')!)) return new Promise(() => {})
    listeners = getEventListeners(signal!, 'abort').length
    return answer(++polls)
  }
  const stream = connect('http://localhost/', { fetch: withPolling({ fetch: scripted, after: 100 }) })
  stream.on('message', () => {})
  t.strictSame(await within('the end', stream.closed), { reason: 'complete' })
  t.strictSame([polls, listeners], [50, 1])
})

t.test('an answer without events that did not wait is followed by a pause', async t => {
  const start = performance.now()
  const { asked } = await read(t, [answers(200, JSON_TYPE, '[]\n'), answers(204)])
  t.equal(asked.length, 4, 'the stream, two polls in one response, and the request for its status')
  t.ok(performance.now() - start >= 950)
})

t.test('another status reaches the client as its own answer', async t => {
  const events = answers(200, JSON_TYPE, '[{"id":"1","data":1}\n]\n')
  t.strictSame((await read(t, [answers(204)])).result, 'complete')
  t.strictSame((await read(t, [answers(406)])).codes, ['FST_SSE_STATUS 406'])
  t.strictSame((await read(t, [events, answers(401), answers(401)])).codes, ['FST_SSE_STATUS 401'])
  const { data, codes } = await read(t, [events, answers(503), answers(503), events, answers(204)])
  t.strictSame([data, codes], [['1', '1'], ['FST_SSE_STATUS 503']])
  for (const headers of [{ 'content-type': 'text/html' }, {}]) {
    t.strictSame((await read(t, [answers(200, headers as Record<string, string>, 'a page')])).codes,
      ['FST_SSE_CONTENT_TYPE 200'])
  }
})

t.test('a lost or incomplete answer is a failure of the network, after which a stream is tried again', async t => {
  const cut: Answer = ({ response }) => {
    response.writeHead(200, { ...JSON_TYPE, 'content-length': '100' }).write('[{"id":"1","data":1}\n')
    // A reset discards bytes that the client has not read yet.
    setTimeout(() => response.socket!.destroy(), 300)
  }
  const last = answers(200, { 'content-type': 'text/event-stream' }, 'id: sse.end\ndata: 2\n\n')
  for (const answer of [cut, answers(200, JSON_TYPE, '[{"id":"1","data":1}\n,{"id"'), answers(200, JSON_TYPE,
    '[{"id":"1","data":1}\n')]) {
    const { data, asked, codes } = await read(t, [answer, last])
    t.strictSame([data, codes], [['1', '2'], ['FST_SSE_NETWORK ']])
    t.strictSame(asked, ['/ -', '/?wait=0.1 -', '/ 1'])
  }
  const dead: Answer = ({ response }) => { response.socket!.destroy() }
  t.strictSame((await read(t, [dead, last])).codes, ['FST_SSE_NETWORK '])
  t.strictSame((await read(t, [answers(200, JSON_TYPE, '[x\n]\n')])).codes, ['FST_SSE_INVALID_EVENT '])
})

t.test('a poll without an answer ends', async t => {
  const silent: Answer = () => {}
  const headOnly: Answer = ({ response }) => { response.writeHead(200, JSON_TYPE).flushHeaders() }
  const last = answers(200, { 'content-type': 'text/event-stream' }, 'id: sse.end\ndata: 2\n\n')
  for (const answer of [silent, headOnly]) {
    const { data, codes } = await read(t, [answer, last])
    t.strictSame([data, codes], [['2'], ['FST_SSE_NETWORK ']])
  }
})

t.test('closing the stream ends a poll, a pause, and the wait for the first byte', async t => {
  const silent: Answer = () => {}
  const cases: Array<[Answer[], number]> = [
    [[silent], 1],
    [[streams(), silent], 2],
    [[streams(), answers(200, JSON_TYPE, '[]\n'), silent], 2]
  ]
  for (const [script, count] of cases) {
    const server = await Scripted.start(t, ...script)
    const stream = connect(server.url, { fetch: withPolling({ after: count === 1 ? 60_000 : 1_000, wait: 60 }) })
    stream.on('message', () => {})
    const { over } = await server.request(count)
    if (script.length === 3) await over
    stream.close()
    await within('the close', over)
    t.strictSame(await stream.closed, { reason: 'closed' })
    t.equal(server.asked.length, count)
  }
})

t.test('a fetch that does not listen to its signal is left behind', async t => {
  const server = await Scripted.start(t, answers(200, JSON_TYPE, `[{"id":"1","data":1}\n,${END}\n]\n`))
  let calls = 0
  const deaf: Fetch = async (url, { signal: _signal, ...init }) => {
    if (++calls === 1) return new Promise(() => {})
    return fetch(url, init)
  }
  const stream = connect(server.url, { fetch: withPolling({ fetch: deaf, after: 1_000 }) })
  const received = []
  for await (const { data } of stream) received.push(data)
  t.strictSame(received, ['1'])
})

t.test('the body of a late stream is cancelled', async t => {
  let cancelled = false
  const late: Fetch = async (_url, { headers }) => {
    if (/json/.test(new Headers(headers).get('accept')!)) return new Response(`[${END}\n]\n`, { headers: JSON_TYPE })
    await new Promise(resolve => setTimeout(resolve, 300))
    return new Response(new ReadableStream({ cancel () { cancelled = true } }),
      { headers: { 'content-type': 'text/event-stream' } })
  }
  const stream = connect('http://localhost/', { fetch: withPolling({ fetch: late, after: 50 }) })
  stream.on('message', () => {})
  t.strictSame(await stream.closed, { reason: 'complete' })
  await until('the cancellation', () => cancelled)
})

t.test('a target that has a wait already keeps it', async t => {
  const server = await Scripted.start(t, streams(), answers(200, JSON_TYPE, `[${END}\n]\n`))
  const stream = connect(`${server.url}?wait=3`, { fetch: withPolling({ after: 1_000 }) })
  stream.on('message', () => {})
  await stream.closed
  t.strictSame(server.asked.map(({ url }) => url), ['/?wait=3', '/?wait=3'])
})

t.test('a stream that was aborted before sends nothing', async t => {
  const server = await Scripted.start(t, streams())
  const signal = AbortSignal.abort(new Error('mine'))
  await t.rejects(withPolling()(server.url, { signal }), /mine|aborted/)
  t.strictSame(server.asked, [])
})

t.test('an answer that is no stream is returned as it is', async t => {
  const server = await Scripted.start(t, answers(401), answers(401))
  const { status } = await withPolling()(server.url, {})
  t.equal(status, 401)
  t.equal(server.asked.length, 1)
})

t.test('a poll that fails rejects without a signal, too', async t => {
  let calls = 0
  const failing: Fetch = async () => {
    if (++calls === 1) return new Promise(() => {})
    throw new TypeError('refused')
  }
  const response = withPolling({ fetch: failing, after: 1 })('http://127.0.0.1:1/', {})
  await t.rejects(response, { message: 'refused' })
})
