import { connect as connectHttp2 } from 'node:http2'
import { PassThrough, Transform } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import compress from '@fastify/compress'
import fc from 'fast-check'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import t, { type Test } from 'tap'
import sse, { EventQueue, type ChannelOptions, type CloseReport } from '../../lib/index.ts'
import type { StreamFormat } from '../../lib/stream/formats.ts'
import type { StreamOptions } from '../../lib/stream/options.ts'
import { GzipReader } from '../setup/gzip-reader.ts'
import { listen } from '../setup/listen.ts'
import { open } from '../setup/raw.ts'
import { until } from '../setup/until.ts'

t.setTimeout(300_000)

const GZIP = { 'accept-encoding': 'gzip' }
const EVENTS = [{ id: 1, data: 'one é€😀' }, { event: 'tick', id: 2, data: { n: 2 } }, { data: '' }]
const FRAMES = 'id: 1\ndata: one é€😀\n\nevent: tick\nid: 2\ndata: {"n":2}\n\ndata: \n\n'

async function appWith (t: Test, options: object = {}, prepare?: (app: FastifyInstance) => unknown) {
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  await prepare?.(app)
  await app.register(sse, options)
  return app
}

t.test('W1: a stream with the option is gzip for a client that accepts it, with the headers of a coding', async t => {
  const app = await appWith(t)
  app.get('/', (_request, reply) => reply.sse(EVENTS, { compress: true }))
  const { headers, rawPayload } = await app.inject({ url: '/', headers: GZIP })
  t.match(headers, {
    'content-type': 'text/event-stream; charset=utf-8',
    'content-encoding': 'gzip',
    vary: 'Accept-Encoding',
    'cache-control': 'no-cache',
    'x-accel-buffering': 'no'
  })
  t.equal(gunzipSync(rawPayload).toString(), FRAMES)
})

t.test('W1: a client that does not accept gzip gets the same events without, and Vary', async t => {
  const app = await appWith(t, { compress: true })
  app.get('/', (_request, reply) => reply.sse(EVENTS))
  for (const accept of [undefined, '', 'br', 'gzip;q=0', 'identity', '*;q=0']) {
    const { headers, payload } = await app.inject({
      url: '/',
      headers: accept === undefined ? {} : { 'accept-encoding': accept }
    })
    t.match(headers, { 'cache-control': 'no-cache, no-transform', vary: 'Accept-Encoding' }, String(accept))
    t.equal(headers['content-encoding'], undefined)
    t.equal(payload, FRAMES)
  }
})

t.test('W1: a stream is not compressed without the option, and has no Vary', async t => {
  const app = await appWith(t)
  app.get('/', (_request, reply) => reply.sse(EVENTS))
  app.get('/off', (_request, reply) => reply.sse(app.sse.channel('on', { compress: true }), { compress: false }))
  const plain = await app.inject({ url: '/', headers: GZIP })
  t.strictSame([plain.payload, plain.headers.vary, plain.headers['content-encoding']], [FRAMES, undefined, undefined])
  const off = await GzipReader.open(await listen(t, app), '/off')
  t.strictSame([off.headers.vary, off.headers['content-encoding']], [undefined, undefined])
})

t.test('W1: headers of the handler stay: Cache-Control, Vary and Content-Encoding', async t => {
  const app = await appWith(t, { compress: true })
  const cases: Array<[Record<string, string>, object, boolean]> = [
    [{ 'cache-control': 'no-cache, no-transform' }, { 'cache-control': 'no-cache, no-transform' }, true],
    [{ 'cache-control': 'private' }, { 'cache-control': 'private' }, true],
    [{ vary: 'Origin' }, { vary: 'Origin, Accept-Encoding' }, true],
    [{ vary: '*' }, { vary: '*' }, true],
    [{ vary: 'accept-encoding, Origin' }, { vary: 'accept-encoding, Origin' }, true],
    [
      { 'content-encoding': 'identity' },
      { 'content-encoding': 'identity', vary: undefined, 'cache-control': 'no-cache, no-transform' },
      false
    ]
  ]
  app.get('/:number', (request, reply) => {
    const { number } = request.params as { number: string }
    const [headers] = cases[parseInt(number)]!
    if (number.endsWith('raw')) for (const [name, value] of Object.entries(headers)) reply.raw.setHeader(name, value)
    else reply.headers(headers)
    return reply.sse(EVENTS)
  })
  for (const [number, [, expected, coded]] of cases.entries()) {
    for (const raw of ['', 'raw']) {
      const { headers, rawPayload } = await app.inject({ url: `/${number}${raw}`, headers: GZIP })
      t.strictSame(Object.fromEntries(Object.keys(expected).map(name => [name, headers[name]])), expected, raw)
      t.equal((coded ? gunzipSync(rawPayload) : rawPayload).toString(), FRAMES)
    }
  }
})

t.test('W1: the streams of channels with the option are compressed, if all of their channels have it', async t => {
  const app = await appWith(t)
  const on = app.sse.channel('on', { compress: true })
  const off = app.sse.channel('off')
  app.get('/one', (_request, reply) => reply.sse(on))
  app.get('/both', (_request, reply) => reply.sse([on, off]))
  app.get('/map', (_request, reply) => reply.sse(on.subscribe({ map: ({ data }) => ({ data: { mapped: data } }) })))
  const port = await listen(t, app)
  const [one, both, map] = await Promise.all(['/one', '/both', '/map'].map(path => GzipReader.open(port, path)))
  t.strictSame([one, both, map].map(reader => reader!.headers['content-encoding']), ['gzip', undefined, 'gzip'])
  for (let n = 0; n < 30; n++) {
    await on.publish({ data: { n, text: 'the same words in each event' } })
    await Promise.all([one, both, map].map(reader => reader!.has(`"n":${n},`)))
  }
  t.ok(one!.bytes < both!.bytes / 2, `${one!.bytes} of ${both!.bytes} bytes`)
  t.ok(map!.bytes < both!.bytes / 2, 'a stream of its own frames has a dictionary of its own')
  t.throws(() => app.sse.channel('on', { compress: false }), { code: 'FST_SSE_CHANNEL_OPTIONS' })
})

t.test('L8: HEAD has the headers of the coding and no body', async t => {
  const app = await appWith(t, { compress: true })
  app.get('/', (_request, reply) => reply.sse(EVENTS))
  app.route({ method: 'HEAD', url: '/own', handler: (_request, reply) => reply.sse(EVENTS) })
  const port = await listen(t, app)
  for (const path of ['/', '/own']) {
    const client = await open(port, { path, method: 'HEAD', headers: { ...GZIP, connection: 'close' } })
    await client.closed
    const [response] = client.responses()
    t.match(response!.headers, { 'content-encoding': 'gzip', vary: 'Accept-Encoding', 'cache-control': 'no-cache' }, path)
    t.equal(response!.body, '')
  }
})

t.test('W1: a source that turns out to be a channel after the head is decoded at each event', async t => {
  const app = await appWith(t, { compress: true, flushHeadersAfter: 0, heartbeatInterval: 1 })
  const channel = app.sse.channel('late')
  let resolve!: (source: typeof channel) => void
  const source = new Promise<typeof channel>(_resolve => { resolve = _resolve })
  app.get('/', (_request, reply) => reply.sse(() => source))
  const reader = await GzipReader.open(await listen(t, app))
  await reader.has(':\n')
  resolve(channel)
  await reader.has(': live\n')
  for (let n = 0; n < 5; n++) {
    await channel.publish({ data: { n, text: 'the same words in each event' } })
    await reader.has(`data: {"n":${n},"text":"the same words in each event"}\n\n:\n\n`)
  }
  await channel.end()
  t.equal(await reader.over, 'end')
  t.notMatch(reader.decoded, /\}\n\n\}/)
})

for (const directWrites of [true, false]) {
  t.test(`R7: a response without content and an error have no coding, directWrites: ${directWrites}`, async t => {
    const app = await appWith(t, { compress: true, directWrites })
    app.get('/finished', (_request, reply) => reply.sse(EVENTS, { finite: true }))
    app.get('/error', (_request, reply) => reply.sse(function * (): Generator<{ data: string }> {
      throw new Error('no')
    }))
    app.get('/json', (_request, reply) => reply.sse(EVENTS, { formats: ['json'] }))
    app.get('/bad-header', (_request, reply) => {
      reply.raw.statusMessage = 'a\nb'
      return reply.sse(EVENTS)
    })
    for (const [url, status] of [['/finished', 204], ['/error', 500], ['/json', 406], ['/bad-header', 500]] as const) {
      const headers = { accept: 'text/event-stream', ...(status === 204 && { 'last-event-id': 'sse.end' }) }
      const plain = await app.inject({ url, headers })
      const coded = await app.inject({ url, headers: { ...headers, ...GZIP } })
      t.strictSame([coded.statusCode, coded.headers['content-encoding']], [status, undefined], url)
      t.equal(coded.headers['cache-control'], plain.headers['cache-control'])
      t.equal(coded.headers.vary, plain.headers.vary)
    }
  })
}

for (const version of ['1.0', '1.1'] as const) {
  for (const directWrites of [true, false]) {
    t.test(`W1: HTTP/${version} with gzip, directWrites: ${directWrites}`, async t => {
      const app = await appWith(t, { compress: true, directWrites })
      app.get('/', (_request, reply) => reply.sse(async function * () {
        for (const event of EVENTS) {
          yield event
          await sleep(1)
        }
      }))
      const client = await open(await listen(t, app), { version, headers: { ...GZIP, connection: 'close' } })
      await client.closed
      const [response] = client.responses()
      t.equal(response!.headers['content-encoding'], 'gzip')
      t.equal(gunzipSync(response!.bytes).toString(), FRAMES)
      t.equal(response!.complete, true)
    })
  }
}

t.test('W1: HTTP/2 with gzip, and a trailer behind it over HTTP/1.1', async t => {
  const events = async function * () {
    for (const event of EVENTS) {
      yield event
      await sleep(1)
    }
  }
  const app = Fastify({ http2: true, forceCloseConnections: true })
  await app.register(sse, { compress: true })
  const news = app.sse.channel('news')
  app.get('/', (_request, reply) => reply.sse(events()))
  app.get('/news', (_request, reply) => reply.sse(news))
  const port = await listen(t, app as unknown as FastifyInstance)
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  t.teardown(() => session.destroy())
  const ask = (path: string): { headers: Promise<Record<string, unknown>>, body: Promise<Buffer> } => {
    const request = session.request({ ':path': path, ...GZIP })
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    return {
      headers: new Promise(resolve => request.once('response', resolve)),
      body: new Promise(resolve => request.once('end', () => resolve(Buffer.concat(chunks))))
    }
  }
  const own = ask('/')
  t.equal((await own.headers)['content-encoding'], 'gzip')
  t.equal(gunzipSync(await own.body).toString(), FRAMES)
  const shared = ask('/news')
  await shared.headers
  for (let n = 0; n < 5; n++) await news.publish({ data: 'x'.repeat(200) })
  await news.end()
  t.equal(gunzipSync(await shared.body).toString().match(/data: x{200}\n/g)?.length, 5)

  const trailing = await appWith(t, { compress: true })
  trailing.get('/', (_request, reply) => reply.trailer('x-sum', async () => '1').sse(events()))
  trailing.get('/channel', (_request, reply) => reply.trailer('x-sum', async () => '1').sse(trailing.sse.channel('c')))
  const trailingPort = await listen(t, trailing)
  const client = await open(trailingPort, { headers: { ...GZIP, te: 'trailers', connection: 'close' } })
  await client.closed
  const [response] = client.responses()
  t.equal(gunzipSync(response!.bytes).toString(), FRAMES)
  t.match(response!.trailers, 'x-sum: 1')
  const reader = await GzipReader.open(trailingPort, '/channel', { te: 'trailers' })
  for (const data of ['first', 'second']) await trailing.sse.channel('c').publish({ data })
  await trailing.sse.channel('c').end()
  t.equal(await reader.over, 'end')
  t.match(reader.decoded, /data: first\n\n[^]*data: second\n\n/)
})

t.test('the formats have the coding, too: lines, an array, and long polling', async t => {
  const app = await appWith(t, { compress: true, formats: ['event-stream', 'ndjson', 'json'] })
  app.get('/', (_request, reply) => reply.sse(EVENTS))
  const news = app.sse.channel('news', { start: 'earliest' })
  app.get('/news', (_request, reply) => reply.sse(news))
  await news.publish({ data: { n: 1 } })
  const decoded = async (url: string, accept: string): Promise<string> => {
    const { headers, rawPayload } = await app.inject({ url, headers: { ...GZIP, accept } })
    t.match(headers, { 'content-encoding': 'gzip', vary: 'Accept, Accept-Encoding' })
    return gunzipSync(rawPayload).toString()
  }
  t.equal(await decoded('/', 'application/x-ndjson'),
    '{"id":"1","data":"one é€😀"}\n{"event":"tick","id":"2","data":{"n":2}}\n{"data":""}\n')
  t.strictSame(JSON.parse(await decoded('/', 'application/json')), [{ id: '1', data: 'one é€😀' },
    { event: 'tick', id: '2', data: { n: 2 } }, { data: '' }])
  t.match(JSON.parse(await decoded('/news?wait=5', 'application/json')),
    [{ event: 'sse.position' }, { data: { n: 1 } }])
  const port = await listen(t, app)
  const lines = await GzipReader.open(port, '/news', { accept: 'application/x-ndjson' })
  for (let n = 2; n < 20; n++) {
    await news.publish({ data: { n } })
    await lines.has(`"data":{"n":${n}}}\n`)
  }
})

/** The body and the coding of a stream of `EVENTS` with these hooks. */
async function hooked (
  t: Test,
  prepare: (app: FastifyInstance) => unknown
): Promise<{ coding: unknown, body: Buffer }> {
  const app = await appWith(t, { compress: true }, prepare)
  app.get('/', (_request, reply) => reply.sse(EVENTS))
  const client = await open(await listen(t, app), { headers: { ...GZIP, connection: 'close' } })
  await client.closed
  const [response] = client.responses()
  return { coding: response!.headers['content-encoding'], body: response!.bytes }
}

t.test('L9: a hook that passes the body on leaves the coding; one that transforms it gets the text', async t => {
  const passed = await hooked(t, app => app.addHook('onSend', async (_request, reply, payload) => {
    reply.header('x-hook', reply.getHeader('content-encoding') ?? 'none')
    return payload
  }))
  t.equal(passed.coding, 'gzip')
  t.equal(gunzipSync(passed.body).toString(), FRAMES)
  const transformed = await hooked(t, app => app.addHook('onSend', async (_request, _reply, payload) =>
    (payload as PassThrough).pipe(new Transform({
      transform: (chunk, _encoding, done) => done(null, String(chunk).toUpperCase())
    }))))
  t.equal(transformed.coding, undefined)
  t.equal(transformed.body.toString(), FRAMES.toUpperCase())
  const foreign = await hooked(t, app => app.addHook('onSend', async (_request, reply: FastifyReply, payload) => {
    reply.header('content-encoding', 'x-own')
    return payload
  }))
  t.strictSame([foreign.coding, foreign.body.toString()], ['x-own', FRAMES])
})

t.test('L9: beside @fastify/compress a stream has exactly one coding, also if that compresses streams', async t => {
  const types = { customTypes: /event-stream/, threshold: 0, encodings: ['gzip' as const] }
  for (const options of [{}, types]) {
    const { coding, body } = await hooked(t, app => app.register(compress, options))
    t.equal(coding, 'gzip')
    t.equal(gunzipSync(body).toString(), FRAMES)
  }
})

t.test('reports and statistics count the bytes on the connection', async t => {
  const reports: CloseReport[] = []
  const app = await appWith(t, { compress: true, onClose: (report: CloseReport) => reports.push(report) })
  const news = app.sse.channel('news')
  app.get('/', (_request, reply) => reply.sse(news))
  const reader = await GzipReader.open(await listen(t, app))
  for (let n = 0; n < 20; n++) await news.publish({ data: { n, text: 'x'.repeat(100) } })
  await reader.has('"n":19,')
  t.equal(app.sse.stats().streams.bytes, reader.bytes)
  t.equal(app.sse.streams()[0]!.bytes, reader.bytes)
  await news.end()
  t.equal(await reader.over, 'end')
  await until('the report', () => reports.length > 0)
  t.equal(reports[0]!.bytes, reader.bytes)
  t.equal(app.sse.stats().streams.bytes, reader.bytes)
})

t.test('L4: a source waits for a compressed client that does not read, and a stalled one is cut', async t => {
  const reports: CloseReport[] = []
  const options: StreamOptions = { compress: true, stallTimeout: 200, onClose: report => reports.push(report) }
  const app = await appWith(t)
  let pulled = 0
  app.get('/', (_request, reply) => reply.sse(function * () {
    for (;;) yield { data: Array.from({ length: 200 }, () => (Math.random() + pulled++).toString(36)).join('') }
  }, options))
  const client = await open(await listen(t, app), { headers: GZIP, pauseOnConnect: true })
  await until('the end', () => reports.length > 0)
  t.equal(reports[0]!.reason, 'stalled')
  client.socket.destroy()
})

t.test('L6: a heartbeat is decoded at once, and the shared text goes on behind it', async t => {
  const app = await appWith(t, { compress: true, heartbeatInterval: 50 })
  const news = app.sse.channel('news')
  app.get('/', (_request, reply) => reply.sse(news))
  const reader = await GzipReader.open(await listen(t, app))
  for (let n = 0; n < 4; n++) {
    await news.publish({ data: { n } })
    await reader.has(`data: {"n":${n}}\n\n:\n\n`)
  }
  await news.end()
  t.equal(await reader.over, 'end')
})

t.test('a queue of its own events, such as tokens of a model, is decoded event by event', async t => {
  const app = await appWith(t, { compress: true })
  const queue = new EventQueue()
  app.get('/', (_request, reply) => reply.sse(queue))
  const reader = await GzipReader.open(await listen(t, app))
  let plain = 0
  for (let n = 0; n < 100; n++) {
    const data = { id: 'chatcmpl-1', object: 'chunk', choices: [{ index: 0, delta: { content: ` word${n}` } }] }
    plain += JSON.stringify(data).length + 8
    await queue.push({ data })
    await reader.has(` word${n}"`)
  }
  queue.end()
  t.equal(await reader.over, 'end')
  t.ok(reader.bytes < plain / 3, `${reader.bytes} of ${plain} bytes`)
})

// As many words fill the buffers of a connection in a few events, since they are noise.
const NOISE = 50_000

/** Text that resembles the events of a service, of any size, or noise. */
const textOf = (n: number, size: number): string =>
  Array.from({ length: size }, (_, index) => size === NOISE
    ? (Math.imul(Math.imul(n * NOISE + index, 2654435761) ^ index * index, 1597334677) >>> 0).toString(36)
    : `word${(n * 7 + index * index) % 97}`).join(' ')

interface Step {
  publish?: number
  size?: number
  join?: boolean
  resume?: number
  leave?: number
  pause?: number
  /** Milliseconds of the pause. */
  time?: number
  wait?: number
}
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      publish: fc.integer({ min: 1, max: 5 }),
      size: fc.oneof({ weight: 9, arbitrary: fc.nat(20) }, { weight: 9, arbitrary: fc.nat(3_000) },
        { weight: 1, arbitrary: fc.constant(NOISE) })
    })
  },
  { weight: 2, arbitrary: fc.record({ join: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ resume: fc.nat(60) }) },
  { weight: 1, arbitrary: fc.record({ leave: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ pause: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ wait: fc.nat(30) }) }
)

/** The events of a text: comments and positions come at other times. */
const eventsOf = (text: string): string[] => text.split('\n\n')
  .map(frame => frame.split('\n').filter(line => !line.startsWith(':')).join('\n'))
  .filter(frame => frame.includes('data: ') && !frame.includes('event: sse.'))

/** The events of JSON lines as frames. */
const framesOf = (lines: string): string[] => lines.split('\n')
  .filter(line => line !== '' && !line.includes('"event":"sse.'))
  .map(line => JSON.parse(line) as { id: string, data: string })
  .map(({ id, data }) => `id: ${id}\ndata: ${data}`)

t.test('R2: compressed readers get the events of an uncompressed one, over random joins, gaps, replays, pauses, heartbeats', async t => {
  const app = await appWith(t, { heartbeatInterval: 20 })
  // A reader that falls behind loses events, with a gap.
  const options: ChannelOptions = { slowConsumer: 'skip', history: { maxEvents: 10 } }
  app.get('/:name/:compress/:format', (request, reply) => {
    const { name, compress, format } = request.params as { name: string, compress: string, format: StreamFormat }
    return reply.sse(app.sse.channel(name, options), { compress: compress === 'gzip', formats: [format] })
  })
  const port = await listen(t, app)
  let number = 0
  let gaps = 0
  const run = async (steps: readonly Step[]): Promise<void> => {
    const name = `c${number++}`
    const channel = app.sse.channel(name, options)
    const readers: Array<{ reader: GzipReader, format: string }> = []
    const left = new Set<GzipReader>()
    const enter = async (format: string, headers: Record<string, string> = {}): Promise<void> => {
      readers.push({ reader: await GzipReader.open(port, `/${name}/gzip/${format}`, headers), format })
    }
    await enter('event-stream')
    const plain = await GzipReader.open(port, `/${name}/plain/event-stream`)
    let published = 0
    const epoch = (await channel.position()).id.split('-')[0]!
    for (const { publish, size = 0, join, resume, leave, pause, time = 30, wait } of steps) {
      if (publish !== undefined) {
        await Promise.all(Array.from({ length: publish }, () =>
          channel.publish({ data: textOf(published++, size) })))
        // The uncompressed reader never falls behind.
        await until('the events', () => plain.text.includes(`id: ${epoch}-${published}\n`))
      } else if (join !== undefined) {
        await enter(join ? 'event-stream' : 'ndjson')
      } else if (resume !== undefined) {
        await enter('event-stream', { 'last-event-id': `${epoch}-${Math.max(0, published - resume)}` })
      } else if (leave !== undefined) {
        const { reader } = readers[leave % readers.length]!
        left.add(reader)
        reader.destroy()
      } else if (pause !== undefined) {
        const { reader } = readers[pause % readers.length]!
        reader.pause()
        if (time < Infinity) setTimeout(() => reader.resume(), time)
      } else await sleep(wait)
    }
    const staying = readers.map(({ reader }) => reader).filter(reader => !left.has(reader))
    for (const reader of staying) reader.resume()
    // A reader that fell behind skips all events until it reads again.
    await until('all to read', async () => {
      await channel.publish({ data: textOf(published++, 5) })
      return staying.every(({ text }) => text.includes(`${epoch}-${published - 1}`))
    })
    await channel.publish({ data: 'last' })
    await channel.end()
    t.equal(await plain.over, 'end')
    const wanted = eventsOf(plain.decoded)
    for (const { reader, format } of readers) {
      if (left.has(reader)) continue
      t.equal(await reader.over, 'end')
      const text = gunzipSync(Buffer.concat(reader.raw)).toString()
      t.equal(text, reader.decoded, 'piece by piece as at once')
      const got = format === 'ndjson' ? framesOf(text) : eventsOf(text)
      if (text.includes('sse.gap')) {
        gaps++
        const order = got.map(frame => wanted.indexOf(frame))
        t.ok(order.every((place, index) => place > (order[index - 1] ?? -1)) && order.at(-1) === wanted.length - 1)
      } else {
        t.ok(got.length > 0 && got.join() === wanted.slice(-got.length).join(), `${got.length} of ${wanted.length}`)
      }
    }
  }
  const behind: Step[] = [{ publish: 1, size: 5 }, { pause: 0, time: Infinity },
    ...Array.from({ length: 40 }, () => ({ publish: 1, size: NOISE })), { publish: 5, size: 5 }]
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), run), {
    numRuns: 25,
    endOnFailure: true,
    examples: [[behind]]
  })
  t.ok(gaps > 0, 'a reader fell behind')
})
