import type { EventEmitter } from 'node:events'
import { get, type ClientRequest, type IncomingMessage } from 'node:http'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import t from 'tap'
import sse, { type Channel, type ChannelOptions, type CloseReport } from '../../lib/index.ts'
import { chances } from '../setup/chances.ts'
import { gc, listeners, settledMemory, timersAndSockets } from '../setup/leftovers.ts'
import { listen } from '../setup/listen.ts'
import { open } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

type Test = Pick<typeof t, 'teardown'>
const MB = 1024 * 1024

/** Returns the used memory, including buffers. */
async function inUse (): Promise<number> {
  const { heap, buffers } = await settledMemory()
  return heap + buffers
}

/** Publishes at a rate of events per millisecond of real time: after a long turn, the next turn publishes more. */
async function publishAtRate (
  channel: Channel,
  rate: number,
  count: number,
  dataOf: (n: number) => unknown,
  hasRoom: (published: number) => boolean = () => true
): Promise<void> {
  const start = performance.now()
  for (let published = 0; published < count;) {
    const due = Math.min(count, Math.floor((performance.now() - start) * rate))
    while (published < due && hasRoom(published)) channel.publish({ data: dataOf(++published) })
    await turn()
  }
}

interface Served {
  app: FastifyInstance
  channel: Channel
  port: number
  epoch: string
  replies: FastifyReply[]
  reports: CloseReport[]
}

/** A server with one channel, streamed at `/`. */
async function serve (t: Test, options: ChannelOptions): Promise<Served> {
  const app = Fastify()
  const reports: CloseReport[] = []
  const replies: FastifyReply[] = []
  await app.register(sse, { onClose: report => { reports.push(report) } })
  const channel = app.sse.channel('news', options)
  app.get('/', (_request, reply) => {
    replies.push(reply)
    return reply.sse(channel)
  })
  const port = await listen(t, app)
  return { app, channel, port, epoch: (await channel.position()).epoch, replies, reports }
}

// (a) Clients that drop and resume.

const RATE = 10
const SECONDS = 10
const TOTAL = RATE * 1_000 * SECONDS
const DROPPERS = 200
const TRUANTS = 10
const HISTORY = 20_000

/** All frames, encoded once: the bytes of each client are compared with them. */
class Frames {
  readonly epoch: string
  readonly #frames: string[] = []

  constructor (epoch: string) {
    this.epoch = epoch
  }

  at (offset: number): string {
    return (this.#frames[offset] ??= `id: ${this.epoch}-${offset}\ndata: event ${offset}\n\n`)
  }
}

/**
 * A client that disconnects at random, reconnects with its last id, and counts. Some stay away once, longer than the
 * history.
 */
class Dropper {
  received = 0
  /** The events that were reported as lost. */
  lost = 0
  resets = 0
  gaps = 0
  visits = 0
  position = 0
  /** The unexpected frames. */
  readonly wrong: string[] = []
  readonly #frames: Frames
  readonly #port: number
  readonly #chance: (below: number) => number
  readonly #truant: boolean
  #rest = ''

  constructor (port: number, frames: Frames, chance: (below: number) => number, truant: boolean) {
    this.#port = port
    this.#frames = frames
    this.#chance = chance
    this.#truant = truant
  }

  /** Runs until the end of the channel. */
  async stay (): Promise<void> {
    while (await this.#visit()) {
      await delay(this.#truant && this.visits === 1 ? 1.5 * HISTORY / RATE : this.#chance(20))
    }
  }

  async #visit (): Promise<boolean> {
    this.visits++
    this.#rest = ''
    const headers = { 'Last-Event-ID': `${this.#frames.epoch}-${this.position}` }
    const request = get({ port: this.#port, host: '127.0.0.1', headers, agent: false })
    const response = await new Promise<IncomingMessage>((resolve, reject) =>
      request.once('response', resolve).once('error', reject)
    )
    if (response.statusCode === 204) {
      response.resume()
      return false
    }
    return await this.#read(request, response)
  }

  async #read (request: ClientRequest, response: IncomingMessage): Promise<true> {
    const until = this.#chance(1_500)
    const timer = setTimeout(() => request.destroy(), until)
    response.setEncoding('latin1').on('data', (text: string) => this.#take(text))
    // A client that disconnects gets its own abort error.
    response.on('error', () => {})
    await new Promise(resolve => response.once('close', resolve))
    clearTimeout(timer)
    return true
  }

  #take (text: string): void {
    text = this.#rest + text
    let at = 0
    for (;;) {
      const frame = this.#frames.at(this.position + 1)
      if (text.startsWith(frame, at)) {
        this.received++
        this.position++
        at += frame.length
        continue
      }
      const end = text.indexOf('\n\n', at)
      if (end === -1) break
      this.#heed(text.slice(at, end))
      at = end + 2
    }
    this.#rest = text.slice(at)
  }

  /**
   * A frame without data of the channel: the first position, a mark, or the report of lost events. Any other is an
   * error.
   */
  #heed (marked: string): void {
    const { epoch } = this.#frames
    if (marked === ': live') return
    const frame = marked.replace(/^: (live|replay)\n/, '')
    const place = Number(/^id: \w+-(\d+)$/m.exec(frame)?.[1])
    const lost = place - this.position
    if (frame === `event: sse.position\nid: ${epoch}-${this.position}\ndata: `) return
    const oldest = place - HISTORY + 1
    if (frame ===
        `event: sse.reset\nid: ${epoch}-${place}\ndata: {"reason":"evicted","oldest":${oldest},"newest":${place}}` &&
      this.position < oldest - 1) this.resets++
    // On a busy machine, entries may be evicted between the client's connection and its first read.
    else if (frame === `event: sse.gap\nid: ${epoch}-${place}\ndata: {"dropped":${lost}}` && lost > 0) this.gaps++
    else this.wrong.push(`after ${this.position}: ${frame}`)
    this.lost += lost
    this.position = place
  }
}

t.test(`R2: ${DROPPERS} clients disconnect and resume at random while ${RATE * 1_000} events/s are published: each receives every event once and in order, or an explicit reset`, async t => {
  const { app, channel, port, epoch, reports } = await serve(t, { history: { maxEvents: HISTORY, maxBytes: 64 * MB } })
  const frames = new Frames(epoch)
  const chance = chances(2026)
  const droppers = Array.from({ length: DROPPERS }, (_, index) => new Dropper(port, frames, chance, index < TRUANTS))
  const staying = Promise.all(droppers.map(dropper => dropper.stay()))
  const started = performance.now()
  await publishAtRate(channel, RATE, TOTAL, n => `event ${n}`)
  const took = performance.now() - started
  await channel.end()
  await within('their ends', staying, 30_000)

  t.same(droppers.flatMap(({ wrong }) => wrong), [], 'there was no unexpected frame')
  t.same(droppers.filter(({ position }) => position !== TOTAL), [], 'every client reached the end')
  t.same(droppers.filter(({ received, lost }) => received + lost !== TOTAL), [],
    'the received and the reported lost events add up')
  const sum = (of: (dropper: Dropper) => number): number => droppers.reduce((total, dropper) => total + of(dropper), 0)
  t.comment(
    `${TOTAL} events in ${(took / 1_000).toFixed(1)} s; ${sum(d => d.received)} deliveries, ${
      sum(d => d.visits)
    } visits, ${sum(d => d.resets)} resets, ${sum(d => d.gaps)} gaps`
  )
  t.ok(sum(d => d.visits) > DROPPERS * 2, 'they reconnected many times')
  t.same(droppers.slice(0, TRUANTS).filter(({ resets }) => resets === 0), [],
    'the clients that stayed away too long were reset')
  t.equal(channel.subscribers, 0)
  await app.close()
  // On a busy machine a reader may fall behind.
  t.same(reports.filter(({ reason }) => !['client', 'channel-ended', 'lagging'].includes(reason)), [], 'nothing failed')
})

// (b) A stalled reader among fast ones.

const FAST = 99
const LOAD = 2_000
const KEPT = 100
// More than the kernel buffers for a connection whose client does not read.
const FILLERS = 2_000
const FILLER = 'x'.repeat(16 * 1024)

/** A client that records the age of each event on arrival. */
class FastReader {
  received = 0
  readonly latencies: number[] = []
  readonly over: Promise<void>

  constructor (port: number) {
    this.over = new Promise((resolve, reject) => {
      get({ port, host: '127.0.0.1', agent: false }, response => {
        let rest = ''
        response.setEncoding('latin1').on('data', (text: string) => {
          const frames = (rest + text).split('\n\n')
          rest = frames.pop()!
          for (const frame of frames) this.#take(frame)
        }).once('end', resolve)
      }).once('error', reject)
    })
  }

  #take (frame: string): void {
    const [, n, sent] = /data: {"n":(\d+),"sent":([\d.]+)/.exec(frame) ?? []
    // The first position of the stream.
    if (n === undefined) return
    this.latencies.push(performance.now() - Number(sent))
    if (Number(n) === this.received + 1) this.received++
  }
}

interface Measured { p99: number, memory: number, readers: FastReader[] }

/** Publishes 1,000 events/s, or as fast as the fast readers read, and measures these. */
async function measure (channel: Channel, port: number): Promise<Measured> {
  const others = channel.subscribers
  const readers = Array.from({ length: FAST }, () => new FastReader(port))
  await within('the readers', (async () => {
    while (channel.subscribers < others + FAST) await turn()
  })())
  await publishAtRate(channel, 1, LOAD,
    n => ({ n, sent: performance.now(), text: 'some hundred bytes of a message '.repeat(5) }),
    published => published - Math.min(...readers.map(({ received }) => received)) < KEPT / 2)
  const memory = await inUse()
  await channel.end()
  await within('their ends', Promise.all(readers.map(({ over }) => over)))
  const latencies = readers.flatMap(({ latencies }) => latencies).sort((a, b) => a - b)
  return { p99: latencies[Math.floor(latencies.length * 0.99)]!, memory, readers }
}

t.test(`R4, R5: a stalled reader costs no memory and delays none of the ${FAST} others, and its own counts add up`, async t => {
  const options: ChannelOptions = { slowConsumer: 'skip', history: { maxEvents: KEPT, maxBytes: 4 * MB } }
  const without = await serve(t, options)
  const alone = await measure(without.channel, without.port)

  const before = await inUse()
  const { channel, port, replies, epoch } = await serve(t, options)
  const stalled = await open(port)
  t.teardown(() => stalled.socket.destroy())
  await within('its position', stalled.until('\n\n'))
  stalled.pause()
  for (let n = 1; n <= FILLERS; n++) {
    await channel.publish({ data: FILLER })
    if (n % 5 === 0) await turn()
  }
  t.ok(replies[0]!.raw.writableLength > 0, 'it reads no bytes')
  const together = await measure(channel, port)
  stalled.resume()
  await within('its end', stalled.until('0\r\n\r\n'))

  t.comment(
    `p99 of the fast readers: ${alone.p99.toFixed(2)} ms without the stalled one, ${
      together.p99.toFixed(2)
    } ms with it; memory +${((together.memory - before) / MB).toFixed(1)} MB`
  )
  for (const { readers } of [alone, together]) {
    t.same(readers.map(({ received, latencies }) => [received, latencies.length]), Array(FAST).fill([LOAD, LOAD]),
      'the fast readers have all, in order')
  }
  t.ok(together.memory - before < FILLERS * FILLER.length / 2,
    'memory grows by the history and the measurements, not by what the stalled client missed')
  const frames = stalled.frames()
  const gaps = frames.filter(frame => frame.startsWith('event: sse.gap\n'))
  const received = frames.length - 1 - gaps.length
  const dropped = gaps.reduce((sum, frame) => sum + Number(/"dropped":(\d+)/.exec(frame)?.[1]), 0)
  t.ok(gaps.length > 0)
  t.equal(received + dropped, FILLERS + LOAD, 'received and dropped events add up')
  t.match(frames.at(-1), `id: ${epoch}-${FILLERS + LOAD}`, 'it is where all are')
})

// (c) Many subscribers, one event.

const SUBSCRIBERS = 1_000

/** Publishes one event to that many subscribers. Returns how often a property of its data was read. */
async function looksAt (t: Test, subscribers: number): Promise<{ looks: number, delivered: number }> {
  const app = Fastify()
  await app.register(sse)
  const events = {
    price: Type.Object({ symbol: Type.String(), levels: Type.Array(Type.Object({ price: Type.Number() })) })
  }
  const channel = app.sse.channel('prices', { events })
  app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse(channel))
  const port = await listen(t, app)
  let delivered = 0
  const expected = 'event: price\nid: EPOCH-1\ndata: {"symbol":"ABC","levels":[{"price":1.5},{"price":2.5}]}\n\n'
    .replace('EPOCH', (await channel.position()).epoch)
  const over = Array.from({ length: subscribers }, () =>
    new Promise<void>((resolve, reject) => {
      get({ port, host: '127.0.0.1', agent: false }, response => {
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part
        }).once('end', () => {
          if (text.endsWith(expected)) delivered++
          resolve()
        })
      }).once('error', reject)
    }))
  await within('all of them', (async () => {
    while (channel.subscribers < subscribers) await turn()
  })())
  let looks = 0
  const watched = <T extends object>(value: T): T => new Proxy(value, {
    get (target, key) {
      looks++
      const inner: unknown = Reflect.get(target, key)
      return typeof inner === 'object' && inner !== null ? watched(inner) : inner
    }
  })
  await channel.publish({ event: 'price', data: watched({ symbol: 'ABC', levels: [{ price: 1.5 }, { price: 2.5 }] }) })
  const looksAtOnce = looks
  await channel.end()
  await within('their ends', Promise.all(over))
  t.teardown(() => app.close())
  if (looks !== looksAtOnce) throw new Error('the data was looked at after publish()')
  return { looks, delivered }
}

t.test(`C4: an event for ${SUBSCRIBERS} subscribers is validated and serialized once`, async t => {
  const one = await looksAt(t, 1)
  const many = await looksAt(t, SUBSCRIBERS)
  t.ok(one.looks > 0)
  t.equal(many.looks, one.looks)
  t.equal(one.delivered, 1)
  t.equal(many.delivered, SUBSCRIBERS, 'each has it, whole')
})

// (d) Short-lived names.

const NAMES = 100_000
const AT_ONCE = 100

t.test(`R4: ${NAMES} short-lived channels leave nothing in memory`, async t => {
  const app = Fastify()
  await app.register(sse)
  t.teardown(() => app.close())
  const events = { message: Type.Object({ user: Type.Integer() }) }
  const traces: Array<WeakRef<Channel<typeof events>>> = []
  let delivered = 0
  let lostEvents = 0

  /** Each user is present for a moment: one event is published, one subscriber receives it. */
  async function visit (user: number): Promise<void> {
    const channel = app.sse.channel(`user ${user}`, { events, start: 'earliest', history: { maxAge: 500 } })
    if (user % 100 === 99) traces.push(new WeakRef(channel))
    channel.publish({ data: { user } })
    const loop = channel.subscribe()[Symbol.asyncIterator]()
    const { value } = await loop.next()
    if (value?.event === 'message' && value.data.user === user) delivered++
    // A process that was blocked for longer than the history's age sends a gap.
    else if (value?.event === 'sse.gap' && value.data.dropped === 1) lostEvents++
    await loop.return?.()
  }

  async function visits (from: number, to: number): Promise<void> {
    for (let user = from; user < to; user += AT_ONCE) {
      await Promise.all(Array.from({ length: AT_ONCE }, (_, n) => visit(user + n)))
      await turn()
    }
    await within('their leaving', (async () => {
      while (traces.some(trace => trace.deref() !== undefined)) {
        await delay(20)
        gc()
      }
    })())
  }

  // The first rounds pay for compiled and cached code.
  await visits(0, NAMES / 10)
  const before = await inUse()
  await visits(NAMES / 10, NAMES)
  const growth = await inUse() - before
  t.comment(`memory +${Math.round(growth / 1024)} KB`)
  t.equal(delivered + lostEvents, NAMES)
  t.ok(growth < 2 * MB, 'the memory has not grown')
})

// (e) Afterwards.

t.test('L3: at the end no subscriber, no listener and no timer is left', async t => {
  const before = timersAndSockets()
  const app = Fastify()
  const reports: CloseReport[] = []
  await app.register(sse, { onClose: report => { reports.push(report) } })
  const channel = app.sse.channel('news', { start: 'earliest', history: { maxEvents: 100 } })
  const other = app.sse.channel('other')
  app.get('/', (_request, reply) => reply.sse(channel))
  app.get('/both', (_request, reply) => reply.sse([channel, other]))
  app.get('/some', (_request, reply) => reply.sse(channel.subscribe({ filter: ({ data }) => data !== 'x' })))
  const controller = new AbortController()
  app.get('/mine', (_request, reply) => reply.sse(channel.subscribe({ signal: controller.signal })))
  const sockets: EventEmitter[] = []
  app.server.on('connection', socket => { sockets.push(socket) })
  const port = await listen(t, app)
  const { epoch } = await channel.position()
  const processListening = listeners(process)

  const visit = async (n: number): Promise<void> => {
    const client = await open(port, {
      path: ['/', '/both', '/some', '/mine'][n % 4]!,
      headers: n % 3 === 0 ? { 'Last-Event-ID': `${epoch}-0` } : {}
    })
    await client.until('\n\n')
    if (n % 5 === 0) client.fin()
    else client.reset()
    await client.closed
  }
  for (let n = 0; n < 200; n += 20) {
    await publishAtRate(channel, 1_000, 20, n => `event ${n}`)
    await within('the visits', Promise.all(Array.from({ length: 20 }, (_, k) => visit(n + k))))
  }
  await within('the loops', Promise.all(Array.from({ length: 20 }, async () => {
    const loop = channel.subscribe()[Symbol.asyncIterator]()
    await loop.next()
    await loop.return?.()
  })))

  // Streams one after the other on one connection: their listeners would be on the connection.
  const client = await open(port, { path: '/some' })
  t.teardown(() => client.socket.destroy())
  await within('the position', client.until('\n\n'))
  const socket = sockets.at(-1)!
  const streaming = listeners(socket)
  await channel.end()
  await other.end()
  await within('the end', client.until('0\r\n\r\n'))
  for (let n = 0; n < 10; n++) {
    const from = client.received.length
    client.request({ path: ['/', '/both', '/some', '/mine'][n % 4]! })
    await within('the next end', client.until('0\r\n\r\n', from))
  }
  await within('the reports', (async () => {
    while (reports.length < 211) await turn()
  })())
  t.same([...listeners(socket)].filter(([name, count]) => count > (streaming.get(name) ?? 0)), [],
    'no stream has left a listener on its connection')

  t.equal(channel.subscribers, 0)
  t.equal(other.subscribers, 0)
  t.same(listeners(process), processListening)
  client.socket.destroy()
  await client.closed
  await within('the close', app.close())
  // The last sockets take a few turns to close.
  for (let n = 0; n < 100 && timersAndSockets().length > before.length; n++) await turn()
  t.same(timersAndSockets(), before, 'no timer and no socket stayed')
})
