import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import sse, {
  type AnyEvent, type Channel, type ChannelOptions, type RegisterOptions, type SubscribeOptions,
  type Subscription
} from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { liftLoopBudget } from '../setup/loop-budget.ts'
import { CAUGHT_UP, live, replay } from '../setup/marks.ts'
import { open, type RawClient, type RawRequest } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

type Test = Pick<typeof t, 'teardown'>
interface Received { readonly event: string, readonly data: unknown, readonly id: string }
interface Published { event?: string | undefined, data: unknown, id?: string | undefined }
type SnapshotFn = SubscribeOptions<Received, Published>['snapshot'] & {}
type MapFn = SubscribeOptions<Received, Published>['map'] & {}
type Options = (SubscribeOptions<Received, Published> & { map?: undefined })
  | (SubscribeOptions<Received, Published> & { map: MapFn })

interface Served {
  app: FastifyInstance
  channel: Channel
  epoch: string
  lines: string[]
  /** Opens a client of the subscription at this path; `/` is the channel itself. */
  openClient: (request?: RawRequest) => Promise<RawClient>
}

/** With and without a map, the events have different types. */
const subscribed = (channel: Channel, way: Options): Subscription<AnyEvent, unknown> =>
  way.map === undefined ? channel.subscribe(way) : channel.subscribe(way)

/** A server with one channel, and one subscription at each path. */
async function serve (
  t: Test,
  ways: Record<string, Options>,
  options: ChannelOptions = {},
  registered: RegisterOptions = {}
): Promise<Served> {
  const lines: string[] = []
  const app: FastifyInstance = Fastify({ logger: { level: 'error', stream: { write: line => { lines.push(line) } } } })
  await app.register(sse, registered)
  const channel = app.sse.channel('news', options)
  app.get('/', (_request, reply) => reply.sse(channel))
  for (const [path, way] of Object.entries(ways)) {
    app.get(path, (_request, reply) => reply.sse(subscribed(channel, way)))
  }
  const port = await listen(t, app)
  return {
    app,
    channel,
    epoch: (await channel.position()).epoch,
    lines,
    openClient: async request => {
      const client = await open(port, request)
      t.teardown(() => client.socket.destroy())
      return client
    }
  }
}

async function publish (channel: Channel, ...data: unknown[]): Promise<void> {
  for (const value of data) await channel.publish({ data: value })
}

async function whole (client: RawClient): Promise<string> {
  await within('the end', client.until('0\r\n\r\n'))
  return client.responses()[0]!.body
}

const at = (epoch: string, offset: number): string => `event: sse.position\nid: ${epoch}-${offset}\ndata: \n\n`
const frame = (epoch: string, offset: number, data: unknown = offset): string =>
  `id: ${epoch}-${offset}\ndata: ${String(data)}\n\n`
const isEven = ({ data }: Received): boolean => Number(data) % 2 === 0

t.test('C4: a filter selects, a map transforms, and both keep the position; exact bytes, replayed and live', async t => {
  const { channel, epoch, openClient } = await serve(t, {
    '/filter': { filter: isEven },
    '/map': {
      map: ({ event, data, id }) =>
        data === 2 ? null : data === 3 ? undefined : { event: 'mapped', data: { event, data, id }, id: 'its own' }
    },
    '/both': { filter: isEven, map: ({ data }) => ({ data: `even ${String(data)}` }) }
  }, { start: 'earliest' })
  await publish(channel, 1, 2, 3)
  const clients = [await openClient({ path: '/filter' }), await openClient({ path: '/map' }),
    await openClient({ path: '/both' })]
  await within('their positions', Promise.all(clients.map(client => client.until('\n\n'))))
  await publish(channel, 4, 5)
  channel.publish({ data: 6 })
  channel.publish({ data: 7 })
  channel.publish({ data: 8 })
  await channel.end()
  const [filtered, mapped, both] = await Promise.all(clients.map(whole))
  const even = (text: string): string =>
    replay(at(epoch, 0)) + at(epoch, 1) + frame(epoch, 2, `${text}2`) + at(epoch, 3) + CAUGHT_UP +
    frame(epoch, 4, `${text}4`) + [6, 8].map(n => at(epoch, n - 1) + frame(epoch, n, `${text}${n}`)).join('')
  t.equal(filtered, even(''))
  const seen = (n: number): string =>
    `event: mapped\nid: ${epoch}-${n}\ndata: {"event":"message","data":${n},"id":"${epoch}-${n}"}\n\n`
  t.equal(mapped, replay(at(epoch, 0)) + seen(1) + at(epoch, 3) + CAUGHT_UP + [4, 5, 6, 7, 8].map(seen).join(''))
  t.equal(both, even('even '))
})

t.test('C1, C4: the result of a map is validated and stripped by the route\'s own schema', async t => {
  const app = Fastify()
  await app.register(sse)
  const channel = app.sse.channel('orders', {
    events: { order: Type.Object({ id: Type.Integer(), customer: Type.String() }) }
  })
  const events = { order: Type.Object({ id: Type.Integer() }) }
  app.get('/', { schema: { sse: events } },
    (_request, reply) => reply.sse(channel.subscribe({ map: ({ event, data }) => ({ event, data }) })))
  app.get('/unmapped', { schema: { sse: events } },
    (_request, reply) => reply.sse(channel as unknown as Channel<typeof events>))
  const port = await listen(t, app)
  const client = await open(port)
  const refused = await open(port, { path: '/unmapped' })
  t.teardown(() => { for (const { socket } of [client, refused]) socket.destroy() })
  await within('its position', client.until('\n\n'))
  await channel.publish({ event: 'order', data: { id: 7, customer: 'somebody' } })
  await channel.end()
  const { epoch } = await channel.position()
  t.equal(await whole(client), `${live(at(epoch, 0))}event: order\nid: ${epoch}-1\ndata: {"id":7}\n\n`)
  await within('the refusal', refused.until('FST_SSE_CHANNEL_EVENTS'))
  t.equal(refused.responses()[0]?.status, 500)
})

t.test('C4: the filters of all subscribers receive one frozen object per event', async t => {
  const seen: Received[][] = [[], []]
  const { channel, openClient } = await serve(t, {
    '/one': { filter: event => seen[0]!.push(event) > 0 },
    '/two': { filter: event => seen[1]!.push(event) > 0 }
  })
  const clients = [await openClient({ path: '/one' }), await openClient({ path: '/two' })]
  await within('their positions', Promise.all(clients.map(client => client.until('\n\n'))))
  await publish(channel, { deep: { list: [1] } })
  await channel.end()
  await Promise.all(clients.map(whole))
  const [one, two] = seen.map(events => events[0]!)
  t.equal(one, two)
  t.throws(() => { (one!.data as { deep: { list: number[] } }).deep.list.push(2) }, TypeError)
})

t.test('R2: a filtered subscriber that reconnects does not filter the same events again', async t => {
  liftLoopBudget(t)
  let calls = 0
  const { channel, epoch, openClient } = await serve(t, {
    '/rare': {
      filter: ({ data }) => {
        calls++
        return data === 10
      }
    }
  }, { start: 'earliest' }, { heartbeatInterval: 0 })
  const client = await openClient({ path: '/rare' })
  await within('the position', client.until(at(epoch, 0)))
  for (let n = 1; n <= 270; n++) {
    await publish(channel, n)
    if (n % 50 === 0) await turn()
  }
  await turn()
  await within('a checkpoint', client.until(at(epoch, 150)))
  client.reset()
  await client.closed
  const [response] = client.responses()
  t.equal(response?.body, live(at(epoch, 0)) + at(epoch, 9) + frame(epoch, 10) + at(epoch, 150),
    'after 128 or more filtered events it gets its position')
  t.equal(calls, 270)

  const back = await openClient({ path: '/rare', headers: { 'Last-Event-ID': `${epoch}-150` } })
  await within('its position', back.until(at(epoch, 150)))
  await publish(channel, 271)
  await channel.end()
  t.equal(await whole(back), replay(at(epoch, 150)) + at(epoch, 270) + CAUGHT_UP + at(epoch, 271),
    'where its history is over, and at the end')
  t.equal(calls, 270 + 120 + 1)

  const over = await openClient({ path: '/rare', headers: { 'Last-Event-ID': `${epoch}-271` } })
  await within('the answer', over.until('\r\n\r\n'))
  t.equal(over.responses()[0]?.status, 204)
  t.equal(calls, 391)
})

t.test('L6: a heartbeat contains the position of a filtered subscriber, if that has moved', async t => {
  const { channel, epoch, openClient } = await serve(t, { '/none': { filter: () => false } }, {}, {
    heartbeatInterval: 20
  })
  const client = await openClient({ path: '/none' })
  await within('the position', client.until(at(epoch, 0)))
  await within('a plain heartbeat', client.until(':\n\n'))
  await publish(channel, 1, 2, 3)
  await within('one with the position', client.until(at(epoch, 3)))
  await within('and a plain one again', client.until(':\n\n', client.received.indexOf(at(epoch, 3))))
  await channel.end()
  t.equal((await whole(client)).replaceAll(':\n\n', ''), live(at(epoch, 0)) + at(epoch, 3))
})

const secret = (): never => { throw new Error('secret') }
// They fail at the second event, so that there is an open stream.
const failing: Array<{ name: string, way: Options, logged: string }> = [
  { name: 'a filter that throws', way: { filter: ({ data }) => data === 1 || secret() }, logged: 'secret' },
  {
    name: 'a filter that returns a promise',
    way: { filter: ({ data }) => data === 1 || Promise.resolve(true) as unknown as boolean },
    logged: 'FST_SSE_OPTION'
  },
  {
    name: 'a filter that rejects',
    way: { filter: ({ data }) => data === 1 || Promise.reject(new Error('secret')) as unknown as boolean },
    logged: 'FST_SSE_OPTION'
  },
  {
    name: 'a filter that returns nothing',
    way: { filter: ({ data }) => data === 1 || undefined as unknown as boolean },
    logged: 'FST_SSE_OPTION'
  },
  { name: 'a map that throws', way: { map: ({ data }) => data === 1 ? { data } : secret() }, logged: 'secret' },
  {
    name: 'a map that returns a promise',
    way: { map: ({ data }) => data === 1 ? { data } : Promise.resolve({ data }) as unknown as Published },
    logged: 'FST_SSE_OPTION'
  },
  {
    name: 'a map that rejects',
    way: { map: ({ data }) => data === 1 ? { data } : Promise.reject(new Error('secret')) as unknown as Published },
    logged: 'FST_SSE_OPTION'
  },
  {
    name: 'a map that returns no event',
    way: { map: ({ data }) => data === 1 ? { data } : 'text' as unknown as Published },
    logged: 'FST_SSE_EVENT'
  }
]
for (const { name, way, logged } of failing) {
  for (const during of [true, false]) {
    t.test(`E2: ${name} ends its own stream and no other's, ${during ? 'live' : 'in the replay'}`, async t => {
      const { channel, epoch, lines, openClient } = await serve(t, { '/failing': way }, { start: 'earliest' })
      if (!during) await publish(channel, 1, 2, 3)
      const from = (first: number, last: number): string => count(first, last).map(n => frame(epoch, n)).join('')
      const clients = [await openClient(), await openClient({ path: '/failing' }), await openClient()]
      await within('their positions', Promise.all(clients.map(client => client.until(at(epoch, 0)))))
      if (during) await publish(channel, 1, 2, 3)
      t.equal(await whole(clients[1]!),
        `${(during ? live : replay)(at(epoch, 0))}${
          frame(epoch, 1)
        }event: error\ndata: {"type":"about:blank","title":"Internal Server Error","status":500,"instance":"req-2"}\n\n`)
      t.equal(channel.subscribers, 2)
      await publish(channel, 4)
      await channel.end()
      for (const client of [clients[0]!, clients[2]!]) {
        t.equal(await whole(client),
          during ? live(at(epoch, 0)) + from(1, 4) : replay(at(epoch, 0)) + from(1, 3) + CAUGHT_UP + from(4, 4))
      }
      t.equal(lines.length, 1, 'it is in the log once')
      t.match(lines[0], logged)
    })
  }
}

const noSnapshots: Array<{ name: string, snapshot: SnapshotFn, code?: string }> = [
  { name: 'throws', snapshot: secret },
  { name: 'rejects', snapshot: async () => secret() },
  { name: 'is no event', snapshot: () => 'text' as unknown as Published, code: 'FST_SSE_EVENT' },
  { name: 'has an id that is no position', snapshot: () => ({ data: 1, id: 'mine' }), code: 'FST_SSE_SNAPSHOT' },
  { name: 'has an id that is ahead', snapshot: async () => ({ data: 1, id: 'another-1' }), code: 'FST_SSE_SNAPSHOT' }
]
for (const { name, snapshot, code } of noSnapshots) {
  t.test(`E2: a snapshot that ${name} is an ordinary error before the head, only for its own subscriber`, async t => {
    const { channel, epoch, openClient } = await serve(t, { '/failing': { snapshot } })
    const other = await openClient()
    await within('its position', other.until('\n\n'))
    const client = await openClient({ path: '/failing', headers: { Connection: 'close' } })
    await within('the answer', client.closed)
    const [response] = client.responses()
    t.match(response, { status: 500, headers: { 'content-type': /json/ } })
    if (code !== undefined) t.match(JSON.parse(response!.body), { code })
    t.equal(channel.subscribers, 1)
    await publish(channel, 1)
    await channel.end()
    t.equal(await whole(other), live(at(epoch, 0)) + frame(epoch, 1))
    // A client with a position does not need the snapshot.
    const back = await openClient({ path: '/failing', headers: { 'Last-Event-ID': `${epoch}-0` } })
    t.equal(await whole(back), replay(at(epoch, 0)) + frame(epoch, 1))
  })
}

t.test('E2: several snapshots that fail, at once and later, cause one error', async t => {
  const app = Fastify()
  await app.register(sse)
  const channels = [0, 1, 2].map(n => app.sse.channel(`c${n}`))
  const ways: Options[] = [{ snapshot: async () => secret() }, { snapshot: secret }, {
    snapshot: async () => await turn().then(secret)
  }]
  app.get('/', (_request, reply) => reply.sse(channels.map((channel, n) => subscribed(channel, ways[n]!))))
  const client = await open(await listen(t, app), { headers: { Connection: 'close' } })
  await within('the answer', client.closed)
  t.equal(client.responses()[0]?.status, 500)
  await turn()
  t.same(channels.map(channel => channel.subscribers), [0, 0, 0])
})

t.test('R3: a snapshot is sent first to new clients and after a reset, as several events, the last of them with the position', async t => {
  const { channel, epoch, openClient } = await serve(t, {
    '/state': { snapshot: () => [{ event: 'state', data: 'a' }, { event: 'state', data: 'b' }] },
    '/nothing': { snapshot: () => null }
  })
  await publish(channel, 1, 2)
  const clients = [
    await openClient({ path: '/state' }),
    await openClient({ path: '/state', headers: { 'Last-Event-ID': 'another-1' } }),
    await openClient({ path: '/state', headers: { 'Last-Event-ID': `${epoch}-1` } }),
    await openClient({ path: '/nothing' })
  ]
  await within('their openings', Promise.all(clients.map(client => client.until(`id: ${epoch}-`))))
  await publish(channel, 3)
  await channel.end()
  const state = `event: state\ndata: a\n\nevent: state\nid: ${epoch}-2\ndata: b\n\n`
  t.same(await Promise.all(clients.map(whole)), [
    live(state) + frame(epoch, 3),
    live(`event: sse.reset\ndata: {"reason":"unknown","oldest":1,"newest":2}\n\n${state}${frame(epoch, 3)}`),
    replay(at(epoch, 1)) + frame(epoch, 2) + CAUGHT_UP + frame(epoch, 3),
    live(at(epoch, 2)) + frame(epoch, 3)
  ])
  t.equal(await whole(await openClient({ path: '/state' })),
    `: live\nevent: state\ndata: a\n\nevent: state\nid: ${epoch}-3\ndata: b\n\n`, 'also when it is all over')
})

// The dashboard race: a counter is incremented while clients connect.

const INCREMENTS = 3_000
const CONNECTS = 40

interface Counter { value: number, id: string | undefined }

const counting: Record<string, (counter: Counter) => SnapshotFn> = {
  'at once': counter => () => ({ event: 'state', data: counter.value }),
  'as a promise with its own id': counter => async () => {
    const { value, id } = counter
    await delay(value % 5)
    const state: Published = { event: 'state', data: value, id }
    return state
  }
}

/** Increments the counter, and publishes each value. A client connects from time to time. */
async function comeWhileCounting (t: Test, snapshot: (counter: Counter) => SnapshotFn): Promise<string[]> {
  const counter: Counter = { value: 0, id: undefined }
  const { channel, openClient } = await serve(t, { '/board': { snapshot: snapshot(counter) } }, {
    history: { maxEvents: INCREMENTS }
  })
  const connecting: Array<Promise<RawClient>> = []
  while (counter.value < INCREMENTS) {
    if (counter.value % Math.floor(INCREMENTS / CONNECTS) === 0) connecting.push(openClient({ path: '/board' }))
    counter.value++
    channel.publish({ event: 'set', data: counter.value }).then(id => { counter.id = id })
    if (counter.value % 3 === 0) await turn()
  }
  const clients = await Promise.all(connecting)
  await within('their openings', Promise.all(clients.map(client => client.until('event: state'))))
  await channel.end()
  return await Promise.all(clients.map(whole))
}

/** The values that a client receives: the state, and the changes after it. */
function view (body: string): { state: number, sets: number[] } {
  const [state, ...sets] = [...body.matchAll(/data: (\d+)/g)].map(([, digits]) => Number(digits))
  return { state: state!, sets }
}

const count = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n)

for (const [name, snapshot] of Object.entries(counting)) {
  t.test(`R2: a snapshot that is given ${name} is followed by exactly the later changes, whenever a client connects`, async t => {
    const views = (await comeWhileCounting(t, snapshot)).map(view)
    t.same(views.filter(({ state, sets }) => JSON.stringify(sets) !== JSON.stringify(count(state + 1, INCREMENTS))), [])
    t.ok(new Set(views.map(({ state }) => state)).size > CONNECTS / 4, 'they connected at different times')
  })
}

t.test('R2: a snapshot that is given as a promise is followed by all changes since it was requested, whenever a client connects', async t => {
  const views = (await comeWhileCounting(t, counter => async () => {
    const before = counter.value
    await delay(before % 5)
    // The state at some moment between the call and its result.
    return { event: 'state', data: Math.floor((before + counter.value) / 2) }
  })).map(view)
  t.same(views.filter(({ state, sets }) => {
    const first = sets[0] ?? INCREMENTS + 1
    return first > state + 1 || JSON.stringify(sets) !== JSON.stringify(count(first, INCREMENTS))
  }), [], 'no update is missing, and the last word is the right one')
})

t.test('the signal of a subscription ends its streams and its loops, and no others', async t => {
  const controller = new AbortController()
  const way: Options = { signal: controller.signal }
  const { channel, epoch, openClient } = await serve(t, { '/mine': way })
  const [mine, other] = [await openClient({ path: '/mine' }), await openClient()]
  await within('their positions', Promise.all([mine, other].map(client => client.until('\n\n'))))
  const received: unknown[] = []
  const loop = (async () => {
    for await (const { data } of channel.subscribe({ signal: controller.signal })) received.push(data)
  })()
  await publish(channel, 1)
  await within('an event', mine.until(frame(epoch, 1)))
  controller.abort()
  t.equal(await whole(mine), live(at(epoch, 0)) + frame(epoch, 1))
  await within('the end of the loop', loop)
  t.same(received, [1])
  t.equal(channel.subscribers, 1)
  await publish(channel, 2)
  await within('an event for the other', other.until(frame(epoch, 2)))
  const late = await openClient({ path: '/mine' })
  t.equal(await whole(late), '', 'a later client gets nothing')
})
