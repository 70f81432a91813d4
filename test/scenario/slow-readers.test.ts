import { once } from 'node:events'
import http2 from 'node:http2'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import t from 'tap'
import sse, { type Channel, type ChannelOptions, type CloseReport, type RegisterOptions } from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { open, type RawClient, type RawRequest } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

type Test = Pick<typeof t, 'teardown'>
type Checks = Pick<typeof t, 'equal' | 'ok' | 'same'>

// Together more than the kernel buffers for a connection whose client does not read.
const EVENTS = 1_000
const PADDING = 'x'.repeat(16 * 1024)
const KEPT = 20
const KEYS = 8

interface Payload { n: number, key: string }
interface Frame { event: string, id: string, data: Record<string, unknown> }

interface Served {
  app: FastifyInstance
  channel: Channel
  epoch: string
  port: number
  /** Returns the reply to the first client. */
  reply: () => FastifyReply
  /** The close reason of the first stream. */
  closed: Promise<CloseReport>
}

async function serve (
  t: Test,
  options: ChannelOptions,
  registered: RegisterOptions = {},
  app: FastifyInstance = Fastify()
): Promise<Served> {
  let onClosed!: (report: CloseReport) => void
  const closed = new Promise<CloseReport>(resolve => { onClosed = resolve })
  let first: FastifyReply | undefined
  await app.register(sse, { onClose: report => onClosed(report), ...registered })
  const channel = app.sse.channel('news', { history: { maxEvents: KEPT, maxBytes: 1e9 }, ...options })
  app.get('/', (_request, reply) => {
    first ??= reply
    return reply.sse(channel)
  })
  // For reconnecting clients, which are not observed.
  app.get('/again', (_request, reply) => reply.sse(channel, { stallTimeout: 0 }))
  const port = await listen(t, app)
  return { app, channel, epoch: (await channel.position()).epoch, port, reply: () => first!, closed }
}

/** Every hundredth event has its own key; the others share a few. */
const keyOf = (n: number): string => n % 100 === 0 ? `rare ${n}` : `often ${n % KEYS}`

/** Publishes far more than the history holds, a few events at a time. */
async function flood (channel: Channel, pause: (published: number) => Promise<unknown> = () => turn()): Promise<void> {
  for (let n = 1; n <= EVENTS; n++) {
    await channel.publish({ data: { n, key: keyOf(n), padding: PADDING } })
    if (n % 5 === 0) await pause(n)
  }
}

async function connect (t: Test, port: number, request: RawRequest = {}): Promise<RawClient> {
  const client = await open(port, request)
  t.teardown(() => client.socket.destroy())
  await within('its position', client.until('\n\n'))
  return client
}

/** A client that has stopped reading, and missed more than the history holds. */
async function stall (t: Test & Checks, { channel, port, reply }: Served): Promise<RawClient> {
  const client = await connect(t, port)
  client.pause()
  await flood(channel)
  const { writableLength } = reply().raw
  t.ok(writableLength > 0 && writableLength < 256 * 1024,
    `the client reads no bytes, and ${writableLength} bytes wait for it in the process`)
  return client
}

/** The frames with data, without positions. */
function framesOf (body: string): Frame[] {
  return body.split('\n\n').slice(0, -1).map(frame => {
    const fields: Record<string, string> = {}
    for (const line of frame.split('\n')) fields[line.slice(0, line.indexOf(':'))] = line.slice(line.indexOf(':') + 2)
    return {
      event: fields.event ?? 'message',
      id: fields.id ?? '',
      data: JSON.parse(fields.data || 'null') as Frame['data'] | null
    }
  }).filter((frame): frame is Frame => frame.data !== null)
}

const bodyOf = (client: RawClient): string => client.responses()[0]!.body
const messagesIn = (frames: Frame[]): Payload[] =>
  frames.filter(({ event }) => event === 'message').map(({ data }) => data as unknown as Payload)
const dropsIn = (frames: Frame[]): number[] =>
  frames.filter(({ event }) => event === 'sse.gap').map(({ data }) => Number(data.dropped))
const sum = (numbers: number[]): number => numbers.reduce((a, b) => a + b, 0)
const count = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n)

for (const start of ['latest', 'earliest'] as const) {
  t.test(`R5: 'disconnect' ends the stream of a reader whose position was evicted; it reconnects, is reset, and continues with the ${start}`, async t => {
    const served = await serve(t, { start })
    const { channel, epoch, port, closed } = served
    const client = await stall(t, served)
    client.resume()
    await within('the end of the stream', client.until('0\r\n\r\n'))
    t.match(await within('the report', closed), { reason: 'lagging' })
    const before = messagesIn(framesOf(bodyOf(client)))
    t.same(before.map(({ n }) => n), count(1, before.length), 'the received events have no gap')
    t.ok(before.length < EVENTS - KEPT)
    t.equal((await within('the report', closed)).lastEventId, `${epoch}-${before.length}`)
    t.equal(channel.subscribers, 0)

    const back = await connect(t, port, { path: '/again', headers: { 'Last-Event-ID': `${epoch}-${before.length}` } })
    await channel.publish({ data: { n: EVENTS + 1 } })
    await channel.end()
    await within('the end', back.until('0\r\n\r\n'))
    const [reset, ...after] = framesOf(bodyOf(back))
    const position = start === 'latest' ? EVENTS : EVENTS - KEPT
    t.same(reset, {
      event: 'sse.reset',
      id: `${epoch}-${position}`,
      data: { reason: 'evicted', oldest: EVENTS - KEPT + 1, newest: EVENTS }
    })
    t.same(messagesIn(after).map(({ n }) => n), count(position + 1, EVENTS + 1))
    const lost = position - before.length
    t.equal(before.length + lost + after.length, EVENTS + 1, 'the numbers add up')
  })
}

t.test("R5: 'skip' sends a reader whose position was evicted the number of skipped events, then continues live", async t => {
  const served = await serve(t, { slowConsumer: 'skip' })
  const { channel, epoch } = served
  const client = await stall(t, served)
  client.resume()
  await within('the gap', client.until('event: sse.gap'))
  await channel.publish({ data: { n: EVENTS + 1 } })
  await channel.end()
  await within('the end', client.until('0\r\n\r\n'))
  const frames = framesOf(bodyOf(client))
  const received = frames.length - 2
  t.same(messagesIn(frames).map(({ n }) => n), [...count(1, received), EVENTS + 1])
  t.same(frames.slice(-2), [
    { event: 'sse.gap', id: `${epoch}-${EVENTS}`, data: { dropped: EVENTS - received } },
    { event: 'message', id: `${epoch}-${EVENTS + 1}`, data: { n: EVENTS + 1 } }
  ])
})

/**
 * Checks that nothing is duplicated, everything is in order at its own position, and missing events are in a gap or
 * merged.
 */
function addsUp (t: Checks, { app, epoch }: Pick<Served, 'app' | 'epoch'>, frames: Frame[], published: number): void {
  const messages = messagesIn(frames)
  t.same(messages.map(({ n }) => n), [...new Set(messages.map(({ n }) => n))].sort((a, b) => a - b),
    'in order, none twice')
  t.same(frames.filter(({ event }) => event === 'message').map(({ id }) => id),
    messages.map(({ n }) => `${epoch}-${n}`), 'each with its own position')
  const { merged, dropped, gaps } = app.sse.stats()
  t.same([dropped, gaps], [sum(dropsIn(frames)), dropsIn(frames).length])
  t.equal(messages.length + dropped + merged, published,
    'delivered, dropped and merged events add up to the published ones')
}

for (const kept of [KEPT, EVENTS + 1]) {
  t.test(`R5: compactBy sends a reader without room the last event of each key, and no gap: a history of ${kept} events`, async t => {
    const served = await serve(t, {
      slowConsumer: { compactBy: ({ data }) => (data as Payload).key },
      history: { maxEvents: kept, maxBytes: 1e9 }
    })
    const { channel } = served
    const client = await stall(t, served)
    client.resume()
    await within('the last event', client.until(`{"n":${EVENTS},`))
    await channel.publish({ data: { n: EVENTS + 1, key: 'live' } })
    await channel.end()
    await within('the end', client.until('0\r\n\r\n'))
    const frames = framesOf(bodyOf(client))
    addsUp(t, served, frames, EVENTS + 1)
    t.same(dropsIn(frames), [])
    const state = new Map(messagesIn(frames).map(({ n, key }) => [key, n]))
    const expected = new Map(count(1, EVENTS).map(n => [keyOf(n), n]))
    expected.set('live', EVENTS + 1)
    t.same([...state].sort(), [...expected].sort(), 'its final state is the common state')
    const { merged } = served.app.sse.stats()
    t.ok(merged > EVENTS / 4, `it received few of the missed events: ${merged} were merged`)
  })
}

t.test('R5: with more keys than the history holds, compactBy sends as many as it holds', async t => {
  const served = await serve(t, { slowConsumer: { compactBy: ({ data }) => (data as Payload).n } })
  const client = await stall(t, served)
  client.resume()
  await within('the last event', client.until(`{"n":${EVENTS},`))
  await served.channel.end()
  await within('the end', client.until('0\r\n\r\n'))
  const frames = framesOf(bodyOf(client))
  addsUp(t, served, frames, EVENTS)
  t.same(messagesIn(frames).map(({ n }) => n).slice(-KEPT), count(EVENTS - KEPT + 1, EVENTS))
  t.same(dropsIn(frames), [EVENTS - messagesIn(frames).length])
})

t.test('R5: the error of a key function is logged, and its events have no key', async t => {
  const lines: string[] = []
  const app: FastifyInstance = Fastify({ logger: { level: 'error', stream: { write: line => { lines.push(line) } } } })
  const latest = ({ data }: { data: unknown }): string => {
    if ((data as Payload).n > 1) throw new Error('no key')
    return (data as Payload).key
  }
  const served = await serve(t, { slowConsumer: { compactBy: latest } }, {}, app)
  const client = await stall(t, served)
  client.resume()
  await within('the last event', client.until(`{"n":${EVENTS},`))
  await served.channel.end()
  await within('the end', client.until('0\r\n\r\n'))
  const frames = framesOf(bodyOf(client))
  addsUp(t, served, frames, EVENTS)
  t.same(messagesIn(frames).map(({ n }) => n).slice(-KEPT), count(EVENTS - KEPT + 1, EVENTS))
  t.match(lines[0], 'no key')
})

t.test("R5: 'snapshot' sends a reader whose position was evicted a gap, the new state, and what follows", async t => {
  const app: FastifyInstance = Fastify()
  await app.register(sse)
  const channel = app.sse.channel('sum', { slowConsumer: 'snapshot', history: { maxEvents: KEPT, maxBytes: 1e9 } })
  let sum = 0
  let reply!: FastifyReply
  app.get('/', (_request, r) => (reply = r).sse(channel.subscribe({
    snapshot: () => ['a', 'b'].map(part => ({ event: 'state', data: { part, sum } }))
  })))
  const client = await connect(t, await listen(t, app))
  const { epoch } = await channel.position()
  client.pause()
  for (let n = 1; n <= EVENTS; n++) {
    sum += n
    await channel.publish({ data: { n, padding: PADDING } })
    if (n % 5 === 0) await turn()
  }
  t.ok(reply.raw.writableLength > 0)
  client.resume()
  await within('the gap', client.until('event: sse.gap'))
  await within('the state', client.until(`"b","sum":${sum}`))
  sum += EVENTS + 1
  await channel.publish({ data: { n: EVENTS + 1 } })
  await channel.end()
  await within('the end', client.until('0\r\n\r\n'))
  const frames = framesOf(bodyOf(client))
  const gap = frames.findIndex(({ event }) => event === 'sse.gap')
  t.same(frames.slice(gap), [
    { event: 'sse.gap', id: '', data: { dropped: EVENTS - messagesIn(frames).length + 1 } },
    { event: 'state', id: '', data: { part: 'a', sum: sum - EVENTS - 1 } },
    { event: 'state', id: `${epoch}-${EVENTS}`, data: { part: 'b', sum: sum - EVENTS - 1 } },
    { event: 'message', id: `${epoch}-${EVENTS + 1}`, data: { n: EVENTS + 1 } }
  ])
  t.match(app.sse.stats(), { gaps: 1, dropped: EVENTS - messagesIn(frames).length + 1 })
})

t.test('R5: an async key function that rejects ends nothing', async t => {
  const { channel, epoch, port } = await serve(t, {
    slowConsumer: {
      compactBy: async () => {
        throw new Error('no key')
      }
    }
  })
  const client = await connect(t, port)
  for (const n of [1, 2]) {
    await channel.publish({ data: n })
    await within('the event', client.until(`data: ${n}\n\n`))
  }
  await channel.end()
  await within('the end', client.until('0\r\n\r\n'))
  t.equal(bodyOf(client),
    `: live\nevent: sse.position\nid: ${epoch}-0\ndata: \n\nid: ${epoch}-1\ndata: 1\n\nid: ${epoch}-2\ndata: 2\n\n`)
})

t.test('R5, R6: a reader whose position was evicted from one of two logs misses nothing of the other', async t => {
  const app = Fastify()
  await app.register(sse)
  const [busy, calm] = ['busy', 'calm'].map(name =>
    app.sse.channel(name, { slowConsumer: 'skip', history: { maxEvents: KEPT, maxBytes: 1e9 } })
  ) as [Channel, Channel]
  let reply!: FastifyReply
  app.get('/', (_request, r) => (reply = r).sse([busy, calm]))
  const client = await connect(t, await listen(t, app))
  client.pause()
  await flood(busy)
  t.ok(reply.raw.writableLength > 0)
  for (const n of [1, 2, 3]) await calm.publish({ event: 'calm', data: { n } })
  client.resume()
  await within('the gap', client.until('event: sse.gap'))
  await Promise.all([busy.end(), calm.end()])
  await within('the end', client.until('0\r\n\r\n'))
  const frames = framesOf(bodyOf(client))
  t.same(frames.filter(({ event }) => event === 'calm').map(({ data }) => data.n), [1, 2, 3])
  t.same(frames.filter(({ event }) => event === 'sse.gap').map(({ data }) => data), [{
    dropped: EVENTS - messagesIn(frames).length,
    channel: 'busy'
  }])
  const [b, c] = [(await busy.position()).epoch, (await calm.position()).epoch]
  t.equal(frames.at(-1)?.id, `${b}-${EVENTS}.${c}-3`)
})

t.test('R5: over HTTP/2 the counts of a slow reader add up, and another stream of its connection is not delayed', async t => {
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  const { channel, epoch, port } = await serve(t, { slowConsumer: 'skip' }, {}, app)
  const session = http2.connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 64 * 1024 } })
  // The window of the whole connection is large, so that it does not matter here.
  session.once('connect', () => session.setLocalWindowSize(64 * 1024 * 1024))
  t.teardown(() => session.destroy())
  const openClient = async (): Promise<{ request: http2.ClientHttp2Stream, parts: string[], size: () => number }> => {
    const request = session.request({ ':path': '/' })
    const parts: string[] = []
    let size = 0
    request.setEncoding('utf8').on('data', (part: string) => {
      parts.push(part)
      size += part.length
    })
    await within('its position', once(request, 'data'))
    return { request, parts, size: () => size }
  }
  const [slow, fast] = [await openClient(), await openClient()]
  slow.request.pause()
  // As fast as the other one reads.
  await flood(channel, async published => {
    while (fast.size() < published * PADDING.length) await within('the other stream', once(fast.request, 'data'))
  })
  slow.request.resume()
  while (!slow.parts.join('').includes('event: sse.gap')) await within('the gap', once(slow.request, 'data'))
  const over = Promise.all([slow, fast].map(({ request }) => once(request, 'close')))
  await channel.end()
  await within('the ends', over)
  const frames = framesOf(slow.parts.join(''))
  addsUp(t, { app, epoch }, frames, EVENTS)
  t.same(dropsIn(frames), [EVENTS - messagesIn(frames).length])
  t.same(messagesIn(framesOf(fast.parts.join(''))).map(({ n }) => n), count(1, EVENTS), 'a reading client receives all')
})

t.test('R5: a reader that reads no bytes for the stallTimeout is disconnected, and resumes after a reconnect', async t => {
  const served = await serve(t, { history: { maxEvents: EVENTS, maxBytes: 1e9 } }, { stallTimeout: 3_000 })
  const { channel, epoch, port, closed } = served
  const client = await stall(t, served)
  t.match(await within('the report', closed), { reason: 'stalled' })
  t.equal(channel.subscribers, 0)
  client.resume()
  await within('the end of the connection', client.closed)
  const before = messagesIn(framesOf(bodyOf(client))).map(({ n }) => n)
  const back = await connect(t, port, {
    path: '/again',
    headers: { 'Last-Event-ID': `${epoch}-${before.length}`, Connection: 'close' }
  })
  await channel.end()
  await within('the end', back.closed)
  t.same([...before, ...messagesIn(framesOf(bodyOf(back))).map(({ n }) => n)], count(1, EVENTS),
    'nothing lost, nothing twice')
})
