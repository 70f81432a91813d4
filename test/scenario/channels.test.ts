import { EventEmitter, once } from 'node:events'
import http2 from 'node:http2'
import { Transform, type Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import compress from '@fastify/compress'
import { Type } from '@sinclair/typebox'
import fc from 'fast-check'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import sse, {
  memoryLog, StreamClosedError, type Channel, type ChannelOptions, type CloseReport,
  type RegisterOptions
} from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { CAUGHT_UP, live, replay, unmarked } from '../setup/marks.ts'
import { open, type RawClient, type RawRequest } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

type Test = Pick<typeof t, 'teardown'>

interface Served {
  app: FastifyInstance
  channel: Channel
  port: number
  epoch: string
  /** The arguments of `onClose` for the first streams, once that many are closed. */
  reported: (count: number) => Promise<CloseReport[]>
  /** Opens another client of the channel. */
  openClient: (request?: RawRequest) => Promise<RawClient>
}

async function connect (t: Test, port: number, request: RawRequest = {}): Promise<RawClient> {
  const client = await open(port, request)
  t.teardown(() => client.socket.destroy())
  return client
}

/** Registers the plugin. Returns the arguments of `onClose`, once that many streams are closed. */
async function register (app: FastifyInstance, options: RegisterOptions = {}): Promise<Served['reported']> {
  const reports: CloseReport[] = []
  const closings = new EventEmitter()
  await app.register(sse, {
    onClose: report => {
      reports.push(report)
      closings.emit('report')
    },
    ...options
  })
  return async count => {
    while (reports.length < count) await once(closings, 'report')
    return reports
  }
}

/** A server with one channel, streamed at `/`. */
async function serve (
  t: Test,
  options: ChannelOptions = {},
  registered: RegisterOptions = {},
  app: FastifyInstance = Fastify()
): Promise<Served> {
  const reported = await register(app, registered)
  const channel = app.sse.channel('news', options)
  app.get('/', (_request, reply) => reply.sse(channel))
  const port = await listen(t, app)
  const { epoch } = await channel.position()
  return { app, channel, port, epoch, reported, openClient: request => connect(t, port, request) }
}

async function publish (channel: Channel, ...data: unknown[]): Promise<void> {
  for (const value of data) await channel.publish({ data: value })
}

const END = '0\r\n\r\n'
const at = (epoch: string, offset: number): string => `event: sse.position\nid: ${epoch}-${offset}\ndata: \n\n`
const frame = (epoch: string, offset: number, data: unknown = offset): string =>
  `id: ${epoch}-${offset}\ndata: ${String(data)}\n\n`
const reset = (epoch: string, position: number, reason: string, oldest: number, newest: number): string =>
  `event: sse.reset\nid: ${epoch}-${position}\ndata: {"reason":"${reason}","oldest":${oldest},"newest":${newest}}\n\n`

const gap = (epoch: string, position: number, dropped: number): string =>
  `event: sse.gap\nid: ${epoch}-${position}\ndata: {"dropped":${dropped}}\n\n`

/** The complete body. Resolves when the response has ended. */
async function whole (client: RawClient): Promise<string> {
  await within('the end of the stream', client.until(END))
  return client.responses()[0]!.body
}

t.test('R1: ids count from 1 after one epoch, and the stream begins with its position; exact bytes', async t => {
  const { channel, epoch, openClient } = await serve(t)
  t.match(epoch, /^[0-9a-z]{1,32}$/)
  const client = await openClient()
  await within('the position', client.until(at(epoch, 0)))
  t.equal(await channel.publish({ data: 'plain' }), `${epoch}-1`)
  await within('a lone event', client.until(frame(epoch, 1, 'plain')))
  // Not awaited: events that are published in one turn are sent in one chunk.
  const ids = ['two\nlines\r\n', { json: true }, '', 0, false, null].map(data =>
    channel.publish({ event: data === 0 ? 'count' : undefined, data })
  )
  t.same(await Promise.all(ids), [2, 3, 4, 5, 6, 7].map(offset => `${epoch}-${offset}`))
  await channel.end()
  t.equal(await whole(client), [
    `: live\nevent: sse.position\nid: ${epoch}-0\ndata: \n\n`,
    `id: ${epoch}-1\ndata: plain\n\n`,
    `id: ${epoch}-2\ndata: two\ndata: lines\ndata: \n\n`,
    `id: ${epoch}-3\ndata: {"json":true}\n\n`,
    `id: ${epoch}-4\ndata: \n\n`,
    `event: count\nid: ${epoch}-5\ndata: 0\n\n`,
    `id: ${epoch}-6\ndata: false\n\n`,
    `id: ${epoch}-7\ndata: null\n\n`
  ].join(''))
  t.equal(client.received.split('\r\n\r\n')[1]?.split('\r\n').length, 3 * 2 + 1,
    'three chunks: the position, the lone event, the six of one turn')
})

t.test('R1: every epoch is new, also after a channel was removed from memory and created again', async t => {
  const { app, channel } = await serve(t, { history: { maxAge: 20 } })
  const id = await channel.publish({ data: 'a' })
  const [epoch] = id.split('-')
  t.not((await app.sse.channel('other').position()).epoch, epoch)
  // A caller of position() may resume there later: that keeps the channel, too.
  let wait = 50
  let head = await channel.position()
  for (; head.epoch === epoch && wait < 2_000; wait *= 2) {
    await delay(wait)
    head = await channel.position()
  }
  t.not(head.epoch, epoch)
  t.match(head, { oldest: 1, newest: 0, ended: false, id: `${head.epoch}-0` })
})

// Five events, of which the history holds three. The sixth is published while the client is connected.
const LIVE = 6
const from = (epoch: string, offset: number, to = LIVE): string => {
  let text = ''
  for (let n = offset; n <= to; n++) text += frame(epoch, n)
  return text
}
/** The events of the history from an offset on, and the live event. */
const past = (epoch: string, offset: number): string => from(epoch, offset, LIVE - 1) + CAUGHT_UP + from(epoch, LIVE)
const returns: Array<
  {
    name: string
    id: (epoch: string) => string | undefined
    newest: (epoch: string) => string
    oldest?: (epoch: string) => string
  }
> = [
  {
    name: 'no id',
    id: () => undefined,
    newest: e => live(at(e, 5)) + from(e, 6),
    oldest: e => replay(gap(e, 2, 2)) + past(e, 3)
  },
  {
    name: 'an empty id',
    id: () => '',
    newest: e => live(at(e, 5)) + from(e, 6),
    oldest: e => replay(gap(e, 2, 2)) + past(e, 3)
  },
  { name: 'the id of the newest event', id: e => `${e}-5`, newest: e => live(at(e, 5)) + from(e, 6) },
  { name: 'the id of one before', id: e => `${e}-4`, newest: e => replay(at(e, 4)) + past(e, 5) },
  { name: 'the id before the oldest', id: e => `${e}-2`, newest: e => replay(at(e, 2)) + past(e, 3) },
  {
    name: 'an id with parts of channels that are no longer subscribed to',
    id: e => `other1-7.${e}-4.other2-0`,
    newest: e => replay(at(e, 4)) + past(e, 5)
  },
  ...([
    ['evicted', 'an evicted id', e => `${e}-1`],
    ['evicted', 'the id of the beginning', e => `${e}-0`],
    ['ahead', 'an id that is ahead', e => `${e}-6`],
    ['ahead', 'an id that is far ahead', e => `${e}-9007199254740991`],
    ['unknown', 'an id of another epoch', () => 'another-3'],
    ['unknown', 'ids of other channels', () => 'other1-3.other2-1'],
    ['malformed', 'a bare number', () => '3'],
    ['malformed', 'a negative number', () => '-1'],
    ['malformed', 'an id with a leading zero', e => `${e}-04`],
    ['malformed', 'an offset above MAX_SAFE_INTEGER', e => `${e}-9007199254740992`],
    ['malformed', 'an id with more behind it', e => `${e}-4x`],
    ['malformed', 'an id with an empty part', e => `${e}-4.`],
    ['malformed', 'an id with two positions', e => `${e}-3.${e}-4`],
    ['malformed', 'an id of spaces inside', e => `${e} -4`],
    ['malformed', 'another language', () => 'идентификатор'],
    ['malformed', 'a range for Redis', () => '0-0,+']
  ] satisfies Array<[string, string, (epoch: string) => string]>).map(([reason, name, id]) => ({
    name,
    id,
    newest: (e: string) => live(reset(e, 5, reason, 3, 5)) + from(e, 6),
    oldest: (e: string) => replay(reset(e, 2, reason, 3, 5)) + past(e, 3)
  }))
]

for (const start of ['latest', 'earliest'] as const) {
  t.test(`R2, R3: the position at which a client resumes, in a channel with start: ${start}, by header and by query parameter`, async t => {
    const { channel, port, epoch } = await serve(t, { start, history: { maxEvents: 3 } })
    await publish(channel, 1, 2, 3, 4, 5)
    const clients: Array<{ name: string, client: RawClient, expected: string }> = []
    for (const { name, id, newest, oldest = newest } of returns) {
      const value = id(epoch)
      const expected = (start === 'latest' ? newest : oldest)(epoch)
      const latin1 = Buffer.from(value ?? '', 'utf8').toString('latin1')
      const requests: RawRequest[] = value === undefined
        ? [{}]
        : [{ headers: { 'Last-Event-ID': latin1 } }, { path: `/?lastEventId=${encodeURIComponent(value)}` }]
      for (const request of requests) {
        clients.push({
          name: `${name}, by ${request.path ?? 'header'}`,
          client: await connect(t, port, request),
          expected
        })
      }
    }
    await within('their openings', Promise.all(clients.map(({ client }) => client.until('\n\n'))))
    await publish(channel, 6)
    await channel.end()
    for (const { name, client, expected } of clients) t.equal(await whole(client), expected, name)
  })
}

t.test('R2: the header has priority over the query parameter, and both over `after`', async t => {
  const app = Fastify()
  await app.register(sse)
  const channel = app.sse.channel('news')
  const { epoch } = await channel.position()
  app.get('/', (_request, reply) => reply.sse(channel.subscribe({ after: `${epoch}-1` })))
  const port = await listen(t, app)
  await publish(channel, 1, 2, 3, 4)
  const cases: Array<[RawRequest, number]> = [
    [{}, 1],
    [{ path: `/?lastEventId=${epoch}-2` }, 2],
    [{ headers: { 'Last-Event-ID': `${epoch}-3` } }, 3],
    [{ headers: { 'Last-Event-ID': `${epoch}-3` }, path: `/?lastEventId=${epoch}-2` }, 3],
    [{ headers: { 'Last-Event-ID': '' } }, 1]
  ]
  for (const [request, offset] of cases) {
    const client = await connect(t, port, request)
    await within('the newest', client.until(frame(epoch, 4)))
    const frames = client.frames().filter(frame => frame.includes('id: '))
    t.equal(frames.length, 1 + 4 - offset)
    t.equal(frames[0], `: replay\nevent: sse.position\nid: ${epoch}-${offset}\ndata: `)
  }
})

t.test('R2: a replay of more than one write is complete and in order, followed by live events', async t => {
  // With room left after the first write, as in Node 22 and later.
  const app = Fastify({ http: { highWaterMark: 65_536 } })
  await app.register(sse)
  let serving = app.sse.channel('none')
  app.get('/', (_request, reply) => reply.sse(serving))
  const port = await listen(t, app)
  for (const count of [900, 1_100, 1_300, 2_600, 5_000]) {
    const news = app.sse.channel(`news ${count}`, { start: 'earliest', history: { maxEvents: 5_001 } })
    const { epoch } = await news.position()
    const all = Array.from({ length: count + 1 }, (_, index) => frame(epoch, index + 1)).join('')
    for (let n = 1; n <= count; n++) await news.publish({ data: n })
    serving = news
    const response = await fetch(`http://127.0.0.1:${port}/`)
    await news.publish({ data: count + 1 })
    await news.end()
    // The last event may be replayed or live, and the channel may end before the replay does.
    const body = await response.text()
    t.ok(body.replace(CAUGHT_UP, '') === replay(at(epoch, 0)) + all, `${count} events`)
  }
})

t.test('R3: an empty history still resumes at its end, and resets every other position', async t => {
  const { channel, epoch, openClient } = await serve(t, { history: { maxEvents: 0 } })
  await publish(channel, 1, 2)
  const [last, before] = [await openClient({ headers: { 'Last-Event-ID': `${epoch}-2` } }),
    await openClient({ headers: { 'Last-Event-ID': `${epoch}-1` } })]
  await within('their openings', Promise.all([last, before].map(client => client.until('\n\n'))))
  await publish(channel, 3)
  await channel.end()
  t.equal(await whole(last), live(at(epoch, 2)) + frame(epoch, 3))
  t.equal(await whole(before), live(reset(epoch, 2, 'evicted', 3, 2)) + frame(epoch, 3))
})

t.test('R2: a client that reconnects many times receives every event once', async t => {
  const { channel, epoch, openClient } = await serve(t)
  let seen = ''
  let id = ''
  for (let n = 1; n <= 10; n++) {
    const client = await openClient(id === '' ? {} : { headers: { 'Last-Event-ID': id } })
    await within('its position', client.until('\n\n'))
    await publish(channel, 2 * n - 1)
    await within('a live event', client.until(frame(epoch, 2 * n - 1)))
    const { body } = client.responses()[0]!
    t.equal(body.startsWith(': live'), n === 1, 'each but the first has one to catch up with')
    seen += unmarked(body).replace(/^event: sse\.position\nid: \S+\ndata: \n\n/, '')
    id = `${epoch}-${2 * n - 1}`
    client.reset()
    await client.closed
    await publish(channel, 2 * n)
  }
  t.equal(seen, Array.from({ length: 19 }, (_, n) => frame(epoch, n + 1)).join(''))
})

t.test('R2: a client that joins between two events of one turn receives the second and not the first', async t => {
  const app = Fastify()
  await app.register(sse)
  const channel = app.sse.channel('news')
  app.get('/', (_request, reply) => reply.sse(channel))
  app.get('/join', (_request, reply) => {
    channel.publish({ data: 1 })
    const over = reply.sse(channel)
    channel.publish({ data: 2 })
    return over
  })
  const port = await listen(t, app)
  const { epoch } = await channel.position()
  const first = await connect(t, port)
  await within('its position', first.until(at(epoch, 0)))
  const second = await connect(t, port, { path: '/join' })
  await within('the event', second.until(frame(epoch, 2)))
  await publish(channel, 3)
  await channel.end()
  t.equal(await whole(first), live(at(epoch, 0)) + from(epoch, 1, 3))
  t.equal(await whole(second), live(at(epoch, 1)) + from(epoch, 2, 3))
})

// R6

interface Two extends Omit<Served, 'channel' | 'epoch' | 'openClient'> {
  orders: Channel
  alerts: Channel
  o: string
  a: string
  openClient: (id?: string) => Promise<RawClient>
}

async function serveTwo (t: Test, options: ChannelOptions = {}): Promise<Two> {
  const app = Fastify()
  const reported = await register(app)
  const [orders, alerts] = [app.sse.channel('orders', options), app.sse.channel('alerts', options)]
  app.get('/', (_request, reply) => reply.sse([orders, alerts]))
  const port = await listen(t, app)
  return {
    app,
    port,
    reported,
    orders,
    alerts,
    o: (await orders.position()).epoch,
    a: (await alerts.position()).epoch,
    openClient: id => connect(t, port, id === undefined ? {} : { headers: { 'Last-Event-ID': id } })
  }
}

t.test('R6: two channels in one stream: each id contains both positions and resumes both; exact bytes', async t => {
  const { orders, alerts, o, a, openClient, reported } = await serveTwo(t)
  const client = await openClient()
  await within('the position', client.until('\n\n'))
  await publish(orders, 'order 1')
  await within('an order', client.until('order 1\n\n'))
  await publish(alerts, 'alert 1')
  await within('an alert', client.until('alert 1\n\n'))
  client.reset()
  await client.closed
  t.equal(client.responses()[0]?.body, [
    `: live\nevent: sse.position\nid: ${o}-0.${a}-0\ndata: \n\n`,
    `id: ${o}-1.${a}-0\ndata: order 1\n\n`,
    `id: ${o}-1.${a}-1\ndata: alert 1\n\n`
  ].join(''))
  t.match(await within('the report', reported(1)), [{ reason: 'client', lastEventId: `${o}-1.${a}-1` }])

  await publish(orders, 'order 2', 'order 3')
  await publish(alerts, 'alert 2')
  const back = await openClient(`${o}-1.${a}-1`)
  await within('the missed events', back.until('alert 2\n\n'))
  // The end of one channel does not end the other.
  await orders.end()
  await publish(alerts, 'alert 3')
  await alerts.end()
  t.equal(await whole(back), [
    `: replay\nevent: sse.position\nid: ${o}-1.${a}-1\ndata: \n\n`,
    `id: ${o}-2.${a}-1\ndata: order 2\n\n`,
    `id: ${o}-3.${a}-1\ndata: order 3\n\n`,
    `id: ${o}-3.${a}-2\ndata: alert 2\n\n`,
    ': live\n\n',
    `id: ${o}-3.${a}-3\ndata: alert 3\n\n`
  ].join(''))
  t.match((await within('the report', reported(2)))[1], { reason: 'channel-ended', lastEventId: `${o}-3.${a}-3` })

  const over = await openClient(`${o}-3.${a}-3`)
  await within('the answer', over.until('\r\n\r\n'))
  t.equal(over.responses()[0]?.status, 204, 'a client at the end of both gets 204')
  const half = await openClient(`${o}-3.${a}-2`)
  t.equal(await whole(half),
    `: replay\nevent: sse.position\nid: ${o}-3.${a}-2\ndata: \n\nid: ${o}-3.${a}-3\ndata: alert 3\n\n`)
})

t.test('R6: the order of the parts of an id does not matter', async t => {
  const { orders, alerts, o, a, openClient } = await serveTwo(t)
  await publish(orders, 1, 2)
  await publish(alerts, 1, 2)
  await orders.end()
  await alerts.end()
  t.equal(await whole(await openClient(`${a}-2.${o}-1`)),
    `: replay\nevent: sse.position\nid: ${o}-1.${a}-2\ndata: \n\nid: ${o}-2.${a}-2\ndata: 2\n\n`)
})

t.test('R6: if one of the channels cannot resume, that channel is reset by name, and only the last frame has the id', async t => {
  const { orders, alerts, o, a, openClient } = await serveTwo(t, { history: { maxEvents: 2 } })
  await publish(orders, 1, 2, 3, 4)
  await publish(alerts, 1)
  const resetFrame = (channel: string, reason: string, id = ''): string => {
    const [oldest, newest] = channel === 'orders' ? [3, 4] : [1, 1]
    return `event: sse.reset\n${id}data: {"reason":"${reason}","oldest":${oldest},"newest":${newest},"channel":"${channel}"}\n\n`
  }
  const cases: Array<[id: string, opening: string]> = [
    [`${o}-1.${a}-0`,
      replay(resetFrame('orders', 'evicted', `id: ${o}-4.${a}-0\n`)) + `id: ${o}-4.${a}-1\ndata: 1\n\n` + CAUGHT_UP],
    [`${o}-4`, live(`event: sse.position\nid: ${o}-4.${a}-1\ndata: \n\n`)],
    [`${o}-4.another-1`, live(resetFrame('alerts', 'unknown', `id: ${o}-4.${a}-1\n`))],
    [`${o}-3.${a}-9`,
      replay(resetFrame('alerts', 'ahead', `id: ${o}-3.${a}-1\n`)) + `id: ${o}-4.${a}-1\ndata: 4\n\n` + CAUGHT_UP],
    ['made up', live(resetFrame('orders', 'malformed')) + resetFrame('alerts', 'malformed', `id: ${o}-4.${a}-1\n`)]
  ]
  const clients: RawClient[] = []
  for (const [id] of cases) clients.push(await openClient(id))
  await within('their openings', Promise.all(clients.map(client => client.until('\n\n'))))
  await orders.end()
  await alerts.end()
  for (const [index, [id, opening]] of cases.entries()) t.equal(await whole(clients[index]!), opening, id)
})

t.test('R6: the same channel twice, and more channels than fit an id, are rejected before the head', async t => {
  const app = Fastify()
  await app.register(sse)
  const many = (count: number): Channel[] => Array.from({ length: count }, (_, n) => app.sse.channel(`c${n}`))
  app.get('/twice', (_request, reply) => reply.sse([...many(2), app.sse.channel('c0')]))
  app.get<{ Params: { count: string } }>('/:count', (request, reply) => reply.sse(many(Number(request.params.count))))
  const port = await listen(t, app)
  for (const path of ['/twice', '/65']) {
    const client = await connect(t, port, { path })
    await within('the answer', client.until('}'))
    t.equal(client.responses()[0]?.status, 500)
    t.match(JSON.parse(client.responses()[0]!.body), { code: 'FST_SSE_CHANNELS' })
  }
  const client = await connect(t, port, { path: '/64' })
  await within('the position', client.until('\n\n'))
  const id = client.frames()[0]!.slice(': live\nevent: sse.position\nid: '.length, -'\ndata: '.length)
  t.equal(id.split('.').length, 64)
  await publish(app.sse.channel('c63'), 'missed')
  const back = await connect(t, port, { path: '/64', headers: { 'Last-Event-ID': id } })
  await within('the missed events', back.until('data: missed\n\n'))
  t.equal(back.frames()[0], `: replay\nevent: sse.position\nid: ${id}\ndata: `, 'all 64 positions are resumed')
})

interface Users { app: FastifyInstance, ada: string, bob: string }

/** Each user has a channel, and Ada must not receive Bob's. Both channels have ended, so every response ends. */
async function serveUsers (t: Test): Promise<Users> {
  const app = Fastify({ exposeHeadRoutes: false, routerOptions: { maxParamLength: 5_000_000 } })
  await app.register(sse)
  const users = ['ada', 'bob'] as const
  const epochs: Record<string, string> = {}
  for (const user of users) {
    const channel = app.sse.channel(user, { start: 'earliest', history: { maxEvents: 3 } })
    await publish(channel, ...[1, 2, 3, 4].map(n => `secret of ${user} ${n}`))
    await channel.end()
    epochs[user] = (await channel.position()).epoch
    app.get(`/${user}`, (_request, reply) => reply.sse(channel))
  }
  t.teardown(() => app.close())
  return { app, ada: epochs.ada!, bob: epochs.bob! }
}

/** All frames that Ada may receive for an id. */
function allowed (ada: string, id: string): string[] {
  const secrets = (after: number): string =>
    [2, 3, 4].filter(n => n > after).map(n => frame(ada, n, `secret of ada ${n}`)).join('')
  const places = [1, 2, 3].filter(n => id.split('.').includes(`${ada}-${n}`)).map(n => replay(at(ada, n)) + secrets(n))
  const resets = ['malformed', 'unknown', 'evicted', 'ahead'].map(reason =>
    replay(reset(ada, 1, reason, 2, 4)) + secrets(0)
  )
  return [...places, ...resets, ...(id.split('.').includes(`${ada}-4`) ? [''] : [])]
}

t.test('R6: no Last-Event-ID gives a user the events of another', async t => {
  const { app, ada, bob } = await serveUsers(t)
  const piece = fc.oneof(
    fc.constantFrom(ada, bob, `${ada}-1`, `${ada}-2`, `${ada}-4`, `${bob}-2`, `${bob}-4`, 'bob', '-', '.', ',', ' ',
      '0', '1', '4', '\u0000', '\r\n', 'news', '../bob', '%2e'),
    fc.string({ unit: 'binary', maxLength: 8 }),
    // Header bytes that are not UTF-8.
    fc.uint8Array({ maxLength: 8 }).map(bytes => Buffer.from(bytes).toString('latin1')),
    fc.tuple(fc.constantFrom(ada, bob, 'x'), fc.oneof(fc.nat(6), fc.maxSafeNat(), fc.double())).map(([epoch, offset]) =>
      `${epoch}-${offset}`
    )
  )
  const ids = fc.tuple(fc.array(piece, { maxLength: 6 }), fc.constantFrom('', '.')).map(([pieces, between]) =>
    pieces.join(between)
  )
  await fc.assert(fc.asyncProperty(ids, fc.boolean(), async (id, byHeader) => {
    const where = byHeader ? { headers: { 'last-event-id': id } } : { query: { lastEventId: id } }
    const { statusCode, body } = await app.inject({ url: '/ada', ...where })
    const fits = id === ''
      ? [replay(gap(ada, 1, 1)) + [2, 3, 4].map(n => frame(ada, n, `secret of ada ${n}`)).join('')]
      : allowed(ada, id)
    return fits.includes(body) && statusCode === (body === '' ? 204 : 200)
  }), { numRuns: 400, seed: 2026 })
})

t.test('R6: over the wire, the id of another channel, of a megabyte, of a thousand parts or of any bytes causes a reset', async t => {
  const app = Fastify({ http: { maxHeaderSize: 4 * 1024 * 1024 } })
  await app.register(sse)
  const [mine, other] = [app.sse.channel('mine', { start: 'earliest' }),
    app.sse.channel('other', { start: 'earliest' })]
  await publish(mine, 'mine')
  await publish(other, 'secret', 'secret')
  await mine.end()
  const [{ epoch }, { epoch: foreign }] = [await mine.position(), await other.position()]
  app.get('/', (_request, reply) => reply.sse(mine))
  const port = await listen(t, app)
  const parts = (count: number): string => Array.from({ length: count }, (_, n) => `part${n}-1`).join('.')
  const cases: Array<[name: string, id: string, reason: string]> = [
    ['of another channel', `${foreign}-1`, 'unknown'],
    ['of another channel, with the name of this one', `mine:${foreign}-1`, 'malformed'],
    ['of a megabyte', `${epoch}-${'1'.repeat(1024 * 1024)}`, 'malformed'],
    ['of three thousand parts', parts(3_000), 'malformed'],
    ['of fifty parts', parts(50), 'unknown'],
    ['of a megabyte of dots', '.'.repeat(1024 * 1024), 'malformed'],
    ['of bytes that are no UTF-8', `${epoch}-1\xff\xfe\xc0\x80`, 'malformed'],
    ['of all bytes that a header may have',
      Buffer.from(Array.from({ length: 0xff }, (_, n) => n + 1).filter(n => n >= 0x20 && n !== 0x7f)).toString('latin1')
        .trim(), 'malformed']
  ]
  for (const [name, id, reason] of cases) {
    const client = await connect(t, port, { headers: { 'Last-Event-ID': id } })
    t.equal(await whole(client), replay(reset(epoch, 0, reason, 1, 1)) + frame(epoch, 1, 'mine'), `an id ${name}`)
  }
})

// R7

t.test('R7: end() ends the streams; a cursor at the end gets 204 and nothing else; later clients begin at their start', async t => {
  for (const start of ['latest', 'earliest'] as const) {
    const { channel, epoch, openClient, reported } = await serve(t, { start })
    const client = await openClient()
    await within('the position', client.until(at(epoch, 0)))
    await publish(channel, 1, 2)
    await Promise.all([channel.end(), channel.end()])
    t.equal(await whole(client), live(at(epoch, 0)) + frame(epoch, 1) + frame(epoch, 2))
    t.match(await within('the report', reported(1)), [{
      reason: 'channel-ended',
      events: 2,
      lastEventId: `${epoch}-2`
    }])
    t.match(await channel.position(), { ended: true, newest: 2, id: `${epoch}-2` })

    const back = await openClient({ headers: { 'Last-Event-ID': `${epoch}-2`, Connection: 'close' } })
    await within('the answer', back.closed)
    t.match(back.received, /^HTTP\/1\.1 204 No Content\r\n/)
    t.equal(back.received.indexOf('\r\n\r\n') + 4, back.received.length, 'no body')
    t.notMatch(back.responses()[0]?.headers, { 'content-type': String })

    const behind = await openClient({ headers: { 'Last-Event-ID': `${epoch}-1` } })
    t.equal(await whole(behind), replay(at(epoch, 1)) + frame(epoch, 2), 'one that is behind gets the rest and the end')

    const late = await openClient()
    if (start === 'earliest') {
      t.equal(await whole(late), replay(at(epoch, 0)) + frame(epoch, 1) + frame(epoch, 2), 'history and end')
    } else {
      await within('the answer', late.until('\r\n\r\n'))
      t.equal(late.responses()[0]?.status, 204, 'there are no more events')
    }
    const lost = await openClient({ headers: { 'Last-Event-ID': 'another-1' } })
    t.equal(await whole(lost), start === 'earliest'
      ? replay(reset(epoch, 0, 'unknown', 1, 2)) + frame(epoch, 1) + frame(epoch, 2)
      : live(reset(epoch, 2, 'unknown', 1, 2)))
    t.equal(channel.subscribers, 0)
  }
})

t.test('R7: a client that reconnects at the end gets 204, also if the source function answers late, within a time limit', async t => {
  const app = Fastify()
  await app.register(sse, { flushHeadersAfter: 20 })
  const channel = app.sse.channel('news')
  await channel.publish({ data: 1 })
  await channel.end()
  app.get('/looked-up/:delay', (request, reply) => reply.sse(async () => {
    await delay(Number((request.params as { delay: string }).delay))
    return channel
  }))
  app.get('/no-channel', (_request, reply) => reply.sse(async function * () {
    await delay(300)
    yield { data: 'late' }
  }))
  const { id } = await channel.position()
  const answer = async (
    path: string,
    headers: Record<string, string> = {}
  ): Promise<[status: number, body: string]> => {
    const { statusCode, payload } = await app.inject({ path, headers })
    return [statusCode, payload]
  }
  t.same(await answer('/looked-up/150', { 'last-event-id': id }), [204, ''])
  t.same(await answer('/looked-up/1200', { 'last-event-id': id }), [200, ':\n\n'],
    'a client does not wait for its head for ever')
  t.same(await answer('/looked-up/150'), [200, ':\n\n'], 'and a new client does not wait')
  t.same(await answer('/no-channel', { 'last-event-id': '1' }), [200, ':\n\ndata: late\n\n'],
    'nor does a client of a source without a channel')
})

t.test('R7: a client that reconnects at the end gets 204, also if the log answers late', async t => {
  const app = Fastify()
  const memory = memoryLog()
  await app.register(sse, {
    flushHeadersAfter: 20,
    eventLog: (...args) => {
      const log = memory(...args)
      const state = log.state.bind(log)
      return Object.assign(log, { state: () => delay(100).then(state) })
    }
  })
  const channel = app.sse.channel('news')
  app.get('/', (_request, reply) => reply.sse(channel))
  const id = await channel.publish({ data: 1 })
  await channel.end()
  t.equal((await app.inject({ path: '/', headers: { 'last-event-id': id } })).statusCode, 204)
  t.equal((await app.inject('/')).payload, ':\n\n', 'a new client gets a comment at once')
})

t.test('R7: a channel that ended without an event answers new clients with 204', async t => {
  const { channel, openClient } = await serve(t, { start: 'earliest' })
  await channel.end()
  const client = await openClient()
  await within('the answer', client.until('\r\n\r\n'))
  t.equal(client.responses()[0]?.status, 204)
})

t.test('publish after the end is rejected, and reaches no subscriber', async t => {
  const { channel, epoch, openClient } = await serve(t, { start: 'earliest' })
  await publish(channel, 1)
  await channel.end()
  await t.rejects(channel.publish({ data: 2 }), { code: 'FST_SSE_CHANNEL_ENDED' })
  // Not awaited: it must not end the process.
  channel.publish({ data: 3 })
  t.equal(await whole(await openClient()), replay(at(epoch, 0)) + frame(epoch, 1))
})

t.test('C4: an invalid event is rejected, reaches no subscriber, and gets no offset', async t => {
  const app = Fastify()
  await app.register(sse)
  const events = { message: Type.Object({ n: Type.Integer() }), note: Type.String() }
  const channel = app.sse.channel('typed', { events })
  app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse(channel))
  const port = await listen(t, app)
  const { epoch } = await channel.position()
  const clients = [await connect(t, port), await connect(t, port)]
  await within('their positions', Promise.all(clients.map(client => client.until('\n\n'))))
  const untyped = channel as unknown as Channel
  const bad: Array<[event: unknown, code: string]> = [
    [{ data: { n: '1' } }, 'FST_SSE_DATA'],
    [{ event: 'note', data: 1 }, 'FST_SSE_DATA'],
    [{ event: 'note' }, 'FST_SSE_DATA'],
    [{ event: 'other', data: 'x' }, 'FST_SSE_UNKNOWN_EVENT'],
    [{ event: 'sse.reset', data: {} }, 'FST_SSE_PUBLISH'],
    [{ data: { n: 1 }, id: '7' }, 'FST_SSE_PUBLISH'],
    [{ comment: 'x' }, 'FST_SSE_PUBLISH'],
    ['text', 'FST_SSE_PUBLISH']
  ]
  for (const [event, code] of bad) await t.rejects(untyped.publish(event as { data: unknown }), { code })
  t.equal(await untyped.publish({ data: { n: 1, secret: 'undeclared' } }), `${epoch}-1`)
  await channel.end()
  for (const client of clients) t.equal(await whole(client), live(at(epoch, 0)) + frame(epoch, 1, '{"n":1}'))
})

// The lifecycle of a stream of a channel

t.test('L6: the stream of an idle channel has heartbeats from its start', async t => {
  const { channel, epoch, openClient } = await serve(t, {}, { heartbeatInterval: 20 })
  const client = await openClient()
  await within('two heartbeats', client.until(':\n\n\r\n3\r\n:\n\n'))
  await publish(channel, 1)
  await within('an event', client.until(frame(epoch, 1)))
  await within('a heartbeat after it', client.until(':\n\n', client.received.indexOf(frame(epoch, 1))))
  await channel.end()
  t.equal((await whole(client)).replaceAll(':\n\n', ''), live(at(epoch, 0)) + frame(epoch, 1))
})

t.test('maxLifetime ends a stream cleanly between two events, and the client resumes at its position', async t => {
  const { channel, epoch, openClient, reported } = await serve(t, {}, { maxLifetime: 60, heartbeatInterval: 10 })
  let published = 0
  const publisher = setInterval(() => channel.publish({ data: ++published }), 1)
  t.teardown(() => clearInterval(publisher))
  let seen = ''
  let id = ''
  for (let n = 0; n < 4; n++) {
    const client = await openClient(id === '' ? {} : { headers: { 'Last-Event-ID': id } })
    const body = (await whole(client)).replaceAll(':\n\n', '')
    const ids = body.match(/^id: .*$/gm) ?? []
    if (id !== '') t.equal(ids[0], `id: ${id}`, 'it begins where it was')
    id = ids.at(-1)!.slice('id: '.length)
    seen += unmarked(body).replace(/^event: sse\.position\nid: \S+\ndata: \n\n/, '')
  }
  clearInterval(publisher)
  const frames = seen.match(/id: [^]*?\n\n/g) ?? []
  const first = Number(/data: (\d+)/.exec(seen)?.[1])
  t.ok(frames.length > 4)
  t.equal(seen, frames.map((_, n) => frame(epoch, first + n)).join(''), 'nothing lost, nothing twice')
  t.same((await within('the reports', reported(4))).map(({ reason }) => reason), Array(4).fill('expired'))
})

t.test('L3: a client that has disconnected is not a subscriber', async t => {
  const { channel, openClient, reported } = await serve(t)
  const clients = [await openClient(), await openClient(), await openClient()]
  await within('their positions', Promise.all(clients.map(client => client.until('\n\n'))))
  t.equal(channel.subscribers, 3)
  clients[0]!.fin()
  clients[1]!.reset()
  t.match(await within('the reports', reported(2)), [{ reason: 'client' }, { reason: 'client' }])
  t.equal(channel.subscribers, 1)
  await publish(channel, 'still')
  await within('an event for the one that stayed', clients[2]!.until('still'))
})

t.test('L7: app.close() ends streams, loops and a running producer, and notifies them', async t => {
  const { app, channel, epoch, openClient, reported } = await serve(t)
  const clients = [await openClient(), await openClient()]
  await within('their positions', Promise.all(clients.map(client => client.until('\n\n'))))
  const received: unknown[] = []
  const loop = (async () => { for await (const event of channel.subscribe()) received.push(event.data) })()
  let reason: unknown
  let finished!: () => void
  const finallyRan = new Promise<void>(resolve => { finished = resolve })
  const consumed = channel.publishFrom(({ signal }) => {
    signal.addEventListener('abort', () => { reason = signal.reason })
    return (async function * (): AsyncGenerator<{ data: string }> {
      try {
        yield { data: 'first' }
        await once(signal, 'abort')
        yield { data: 'after the close' }
      } finally {
        finished()
      }
    })()
  })
  await within('an event', Promise.all(clients.map(client => client.until(frame(epoch, 1, 'first')))))
  await within('app.close()', app.close())
  for (const client of clients) {
    const body = await whole(client)
    t.equal(body.replace(/retry: \d+\n\n$/, ''), live(at(epoch, 0)) + frame(epoch, 1, 'first'))
    t.match(body, /retry: \d+\n\n$/, 'with a retry delay')
  }
  await within('the loop', loop)
  await within('consume()', consumed)
  t.same(received, ['first'])
  t.type(reason, StreamClosedError)
  t.match(reason, { reason: 'shutdown' })
  await within('the finally', finallyRan)
  t.match(await within('the reports', reported(2)), [{ reason: 'shutdown' }, { reason: 'shutdown' }])
  await t.rejects(channel.publish({ data: 'late' }), { code: 'FST_SSE_CLOSING' })
  await t.rejects(app.sse.channel('another').publish({ data: 'late' }), { code: 'FST_SSE_CLOSING' })
  t.equal(channel.subscribers, 0)
})

// Other transports to the client

t.test('W1: an HTTP/1.0 client receives a channel', async t => {
  const { channel, epoch, openClient } = await serve(t)
  await publish(channel, 1)
  const client = await openClient({ version: '1.0', headers: { 'Last-Event-ID': `${epoch}-0` } })
  await within('the history', client.until(frame(epoch, 1)))
  await publish(channel, 2)
  await within('an event', client.until(frame(epoch, 2)))
  await channel.end()
  t.equal(await within('the end', client.closed), 'end')
  t.match(client.responses()[0], {
    status: 200,
    complete: true,
    body: replay(at(epoch, 0)) + frame(epoch, 1) + CAUGHT_UP + frame(epoch, 2)
  })
  t.equal(client.responses()[0]?.headers['transfer-encoding'], undefined)
})

t.test('W1: HTTP/2 clients receive channels, many over one connection, and get 204 at the end', async t => {
  const app = Fastify({ http2: true }) as unknown as FastifyInstance
  const { channel, port, epoch } = await serve(t, {}, {}, app)
  const session = http2.connect(`http://127.0.0.1:${port}`)
  t.teardown(() => session.destroy())
  const openClient = (id?: string): { status: Promise<unknown>, position: Promise<unknown>, body: Promise<string> } => {
    const request = session.request({ ':path': '/', ...(id !== undefined && { 'last-event-id': id }) })
    let text = ''
    request.setEncoding('utf8').on('data', (part: string) => {
      text += part
    })
    return {
      status: once(request, 'response').then(([headers]) => (headers as http2.IncomingHttpStatusHeader)[':status']),
      position: once(request, 'data'),
      body: once(request, 'end').then(() => text)
    }
  }
  const followers = [openClient(), openClient(), openClient('another-1')]
  await within('their positions', Promise.all(followers.map(({ position }) => position)))
  t.equal(channel.subscribers, 3)
  await publish(channel, 1, 2)
  channel.publish({ data: 3 })
  channel.publish({ data: 4 })
  await channel.end()
  const rest = [1, 2, 3, 4].map(n => frame(epoch, n)).join('')
  t.same(await within('the end', Promise.all(followers.map(({ body }) => body))), [live(at(epoch, 0)) + rest,
    live(at(epoch, 0)) + rest, live(reset(epoch, 0, 'unknown', 1, 0)) + rest])
  const back = openClient(`${epoch}-4`)
  t.equal(await within('the answer', back.status), 204)
  t.equal(await within('its end', back.body), '')
})

t.test('L9: with @fastify/compress registered globally, events are still sent one by one, uncompressed', async t => {
  const app = Fastify()
  await app.register(compress, { threshold: 0 })
  const { channel, epoch, openClient } = await serve(t, {}, {}, app)
  const client = await openClient({ headers: { 'Accept-Encoding': 'gzip, br' } })
  await within('the position', client.until(at(epoch, 0)))
  for (let n = 1; n <= 3; n++) {
    await publish(channel, n)
    await within(`event ${n}`, client.until(frame(epoch, n)))
  }
  await channel.end()
  await whole(client)
  t.equal(client.responses()[0]?.headers['content-encoding'], undefined)
})

t.test('L9: an onSend hook may pipe a channel through a transform; events are still sent one by one', async t => {
  const app = Fastify()
  app.addHook('onSend', async (_request, _reply, payload) =>
    (payload as Readable).pipe(new Transform({
      transform (chunk: Buffer, _encoding, done) {
        done(null, chunk.toString().replace(/data: (?=.)/g, 'data: transformed '))
      }
    })))
  const { channel, epoch, openClient } = await serve(t, {}, {}, app)
  const clients = [await openClient(), await openClient()]
  await within('their positions', Promise.all(clients.map(client => client.until(at(epoch, 0)))))
  for (let n = 1; n <= 3; n++) {
    await publish(channel, n)
    await within(`event ${n}`, Promise.all(clients.map(client => client.until(`data: transformed ${n}\n\n`))))
  }
  await channel.end()
  for (const client of clients) {
    t.equal(await whole(client), live(at(epoch, 0)) + [1, 2, 3].map(n => frame(epoch, n, `transformed ${n}`)).join(''))
  }
})

t.test('R2: streams that are written directly to the socket have the same bytes as others', async t => {
  const app = Fastify()
  await app.register(sse)
  const channel = app.sse.channel('news')
  app.get('/plain', (_request, reply) => reply.sse(channel))
  // A filter that passes everything, so the subscriber has its own frames.
  app.get('/filtered', (_request, reply) => reply.sse(channel.subscribe({ filter: () => true })))
  app.get('/mapped', (_request, reply) => reply.sse(channel.subscribe({ map: ({ data }) => ({ data }) })))
  const port = await listen(t, app)
  const { epoch } = await channel.position()
  const clients: RawClient[] = []
  for (const path of ['/plain', '/filtered', '/mapped']) clients.push(await connect(t, port, { path }))
  await within('their positions', Promise.all(clients.map(client => client.until('\n\n'))))
  const texts = ['ascii', 'zwölf Boxkämpfer 🥊', 'two\nlines', 'x'.repeat(100_000), '', '🥊'.repeat(20_000)]
  for (const text of texts) channel.publish({ data: text })
  for (const text of texts) {
    await channel.publish({ data: text })
    await new Promise(setImmediate)
  }
  await channel.end()
  const expected = live(at(epoch, 0)) +
    [...texts, ...texts].map((text, n) =>
      `id: ${epoch}-${n + 1}\n${text.split('\n').map(line => `data: ${line}\n`).join('')}\n`
    ).join('')
  for (const client of clients) t.equal(await whole(client), expected)
})
