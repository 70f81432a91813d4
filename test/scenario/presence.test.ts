import { setTimeout as pause } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { memoryLog, presenceEvents, type ChannelOptions, type EventMap, type RegisterOptions } from '../../lib/index.ts'
import { publisher } from '../../lib/publisher.ts'
import { listen } from '../setup/listen.ts'
import { open, type RawClient, type RawRequest } from '../setup/raw.ts'
import { dice } from '../setup/remote-log.ts'
import { SharedStore, type StoreNode } from '../setup/shared-store.ts'
import { until } from '../setup/until.ts'
import { faultsOf, visits } from '../setup/visits.ts'
import { within } from '../setup/within.ts'

t.setTimeout(300_000)

const LEASE = 300
const options = { leaseDuration: LEASE } satisfies ChannelOptions

interface Node { app: FastifyInstance, port: number, warnings: string[] }

/** A server with a room: `/room?as=a` joins, `/who` has the members. */
async function serve (t: Test, registered: RegisterOptions = {}): Promise<Node> {
  const warnings: string[] = []
  const stream = { write: (line: string) => { warnings.push((JSON.parse(line) as { msg: string }).msg) } }
  const app = Fastify({ logger: { level: 'warn', stream } })
  await app.register(sse, registered)
  const room = app.sse.channel('room', options)
  app.get<{ Querystring: { as: string } }>('/room', (request, reply) =>
    reply.sse(room.subscribe({ as: request.query.as }), { flushHeadersAfter: 5 }))
  app.get('/who', { schema: { sse: presenceEvents } }, (_request, reply) => reply.sse(room.presence))
  return { app, port: await listen(t, app), warnings }
}

const roomOf = ({ app }: Pick<Node, 'app'>) => app.sse.channel('room', options)

async function connect (t: Test, port: number, request: RawRequest): Promise<RawClient> {
  const client = await open(port, request)
  t.teardown(() => client.socket.destroy())
  return client
}

/** Waits until exactly these members are present. */
async function present (node: Pick<Node, 'app'>, ...members: string[]): Promise<void> {
  await until(`the members ${members.join()}`, async () => (await roomOf(node).members()).join() === members.join())
}

/** The changes of the members of the room, in order. */
const changesOf = (store: SharedStore) => async (): Promise<string[]> => {
  const { entries } = await store.log('sse.presence:room').read(0, 10_000)
  return entries.map(({ event, data }) => `${event} ${(JSON.parse(data) as { member: string }).member}`)
}

t.test('R12: a member is present while a stream of it is open on any node, and a page gets all changes', async t => {
  const store = new SharedStore(dice(1))
  const [one, two] = [await serve(t, { eventLog: store.node().open }), await serve(t, { eventLog: store.node().open })]
  const first = await connect(t, one.port, { path: '/room?as=a' })
  await present(two, 'a')
  const page = await connect(t, two.port, { path: '/who' })
  await page.until('event: members')
  const second = await connect(t, two.port, { path: '/room?as=a' })
  const other = await connect(t, two.port, { path: '/room?as=b' })
  await page.until('"b"')
  await present(one, 'a', 'b')
  first.socket.destroy()
  other.socket.destroy()
  await page.until('leave')
  await present(one, 'a')
  second.socket.destroy()
  await page.until('leave\nid: ', page.received.lastIndexOf('leave') + 5)
  await present(one)
  t.strictSame(await changesOf(store)(), ['join a', 'join b', 'leave b', 'leave a'])
  await page.until('{"member":"a"}')
  const { epoch } = await roomOf(one).presence.position()
  t.strictSame(page.frames().filter(frame => /data/.test(frame)).map(frame => frame.replace(/^.*:.*live\n/, '')), [
    'event: members\nid: E-1\ndata: {"members":["a"]}',
    'event: join\nid: E-2\ndata: {"member":"b"}',
    'event: leave\nid: E-3\ndata: {"member":"b"}',
    'event: leave\nid: E-4\ndata: {"member":"a"}'
  ].map(frame => frame.replace('E', epoch)))
  const resumed = await connect(t, one.port, { path: '/who', headers: { 'last-event-id': `${epoch}-2` } })
  await resumed.until('"a"')
  t.match(resumed.frames().join('\n'), /leave[^]*"b"[^]*leave[^]*"a"/)
  t.notMatch(resumed.received, 'event: members')
})

t.test('a rejected stream shows no member', async t => {
  const store = new SharedStore()
  const app = Fastify()
  await app.register(sse, { eventLog: store.node().open, limits: { maxStreams: 2 }, flushHeadersAfter: 5 })
  const room = app.sse.channel('room', { ...options, events: { note: Type.String() } })
  const ended = app.sse.channel('ended', options)
  await ended.publish({ data: 1 })
  await ended.end()
  await room.publish({ event: 'note', data: 'x' })
  const never = (name: string) => ({ as: `never-${name}` })
  const other: EventMap = { other: Type.String() }
  const bad = (): never => { throw new Error('bad') }
  app.get('/head', (_request, reply) => reply.sse(room.subscribe(never('head'))))
  app.get('/ended', (_request, reply) => reply.sse([
    ended.subscribe(never('ended')), app.sse.channel('ended-2', options).subscribe(never('ended-2'))
  ].slice(0, 1)))
  app.get('/contract', { schema: { sse: other } },
    (_request, reply) => reply.sse(room.subscribe(never('contract'))))
  app.get('/snapshot', (_request, reply) => reply.sse(room.subscribe({ ...never('snapshot'), snapshot: bad })))
  app.get('/late', (_request, reply) => reply.sse(room.subscribe({
    ...never('late'),
    snapshot: async () => {
      await new Promise(setImmediate)
      return bad()
    }
  })))
  app.get('/map', (_request, reply) => reply.sse(room.subscribe({ ...never('map'), start: 'earliest', map: bad })))
  app.get('/invalid', { schema: { sse: { note: Type.String() } } }, (_request, reply) => reply.sse(room.subscribe({
    ...never('invalid'),
    snapshot: () => ({ event: 'note', data: 7 as unknown as string })
  })))
  app.get('/hook', { onSend: async () => { throw new Error('hook') } },
    (_request, reply) => reply.sse(room.subscribe(never('hook'))))
  app.get('/slow-hook', { onSend: async () => { await new Promise(() => {}) } },
    (_request, reply) => reply.sse(room.subscribe(never('slow-hook'))))
  app.get('/option', (_request, reply) => reply.sse([
    room.subscribe(never('option')), room.subscribe(never('option'))
  ]))
  app.get('/aborted', (_request, reply) => reply.sse(room.subscribe({
    ...never('aborted'), signal: AbortSignal.abort()
  })))
  app.get('/accept', (_request, reply) => reply.sse(room.subscribe(never('accept')), { formats: ['ndjson'] }))
  app.get('/finite', (_request, reply) => reply.sse(room.subscribe(never('finite')), { finite: true }))
  app.get('/full', (_request, reply) => reply.sse(room.subscribe(never('full'))))
  app.get('/open', (_request, reply) => reply.sse(room))
  const port = await listen(t, app)
  const status = async (path: string, request: RawRequest = {}): Promise<number | undefined> => {
    const client = await connect(t, port, { path, ...request })
    await client.until('\r\n\r\n')
    client.socket.destroy()
    await client.closed
    return client.responses()[0]?.status
  }
  t.equal(await status('/head', { method: 'HEAD' }), 200)
  t.equal(await status('/ended', { headers: { 'last-event-id': (await ended.position()).id } }), 204)
  for (const path of ['/contract', '/snapshot', '/late', '/invalid', '/hook', '/option']) {
    t.equal(await status(path), 500, path)
  }
  // The position is ready before the error of the first event: the stream ends with the event of the error.
  t.equal(await status('/map'), 200)
  t.equal(await status('/aborted'), 200)
  t.equal(await status('/accept', { headers: { accept: 'text/event-stream' } }), 406)
  t.equal(await status('/finite', { headers: { 'last-event-id': 'sse.end' } }), 204)
  const stuck = await connect(t, port, { path: '/slow-hook' })
  await pause(30)
  stuck.socket.destroy()
  await until('no stream', () => app.sse.stats().streams.open === 0)
  for (let n = 0; n < 2; n++) await (await connect(t, port, { path: '/open' })).until('\r\n\r\n')
  t.equal(await status('/full'), 503)
  await pause(20)
  t.strictSame([await changesOf(store)(), await room.members()], [[], []])
})

t.test('1,000 clients that leave at any moment: each join has its leave, and no member stays', async t => {
  const store = new SharedStore(dice(7))
  const nodes = [await serve(t, { eventLog: store.node().open }), await serve(t, { eventLog: store.node().open })]
  const room = roomOf(nodes[0]!)
  const publishing = setInterval(() => { room.publish({ data: 'x' }) }, 10)
  await visits(nodes.map(({ port }) => port), 1_000, 11)
  clearInterval(publishing)
  await present(nodes[0]!)
  await present(nodes[1]!)
  const changes = await changesOf(store)()
  t.strictSame(faultsOf(changes), [])
  t.ok(changes.length > 100, `${changes.length} changes`)
  t.strictSame(nodes.flatMap(({ warnings }) => warnings), [])
})

t.test('the members of a dead node leave within the lease and a third, one leave each', async t => {
  const store = new SharedStore()
  const dead: StoreNode = store.node()
  const [one, two] = [await serve(t, { eventLog: dead.open }), await serve(t, { eventLog: store.node().open })]
  for (const member of ['a', 'b', 'both']) {
    const client = await connect(t, one.port, { path: `/room?as=${member}` })
    await client.until('\r\n\r\n')
  }
  const page = await connect(t, two.port, { path: '/who' })
  const both = await connect(t, two.port, { path: '/room?as=both' })
  await both.until('\r\n\r\n')
  await present(two, 'a', 'b', 'both')
  await pause(2 * LEASE)
  await present(two, 'a', 'b', 'both')
  dead.away = 'hangs'
  const since = performance.now()
  await page.until('event: leave')
  const waited = performance.now() - since
  t.ok(waited > LEASE / 2, `${waited} ms, not before the lease ends`)
  t.ok(waited < LEASE * 4 / 3 + 2_000, `${waited} ms`)
  await present(two, 'both')
  both.socket.destroy()
  await present(two)
  const changes = await changesOf(store)()
  t.strictSame(changes.slice(3).toSorted(), ['leave a', 'leave b', 'leave both'])
  dead.back()
  await present(two, 'a', 'b', 'both')
})

for (const away of ['rejects', 'hangs'] as const) {
  t.test(`a store that is away and ${away}: the members are right when it is back`, async t => {
    const store = new SharedStore(dice(3))
    const node = store.node()
    const [one, two] = [await serve(t, { eventLog: node.open }), await serve(t, { eventLog: store.node().open })]
    const clients: Record<string, RawClient> = {}
    for (const member of ['stays', 'goes', 'returns']) {
      clients[member] = await connect(t, one.port, { path: `/room?as=${member}` })
      await clients[member]!.until('\r\n\r\n')
    }
    await present(two, 'goes', 'returns', 'stays')
    node.away = away
    clients.goes!.socket.destroy()
    clients.returns!.socket.destroy()
    await pause(LEASE)
    node.back()
    const again = await connect(t, one.port, { path: '/room?as=returns' })
    await again.until('\r\n\r\n')
    const late = await connect(t, one.port, { path: '/room?as=new' })
    await late.until('\r\n\r\n')
    await present(two, 'new', 'returns', 'stays')
    await pause(LEASE * 4 / 3)
    await present(two, 'new', 'returns', 'stays')
    for (const client of [clients.stays!, again, late]) client.socket.destroy()
    await present(two)
    const { warnings } = one
    t.equal(warnings.includes('sse members could not be held'), away === 'rejects')
  })
}

t.test('the members join again after the log lost its data, and a page gets them all', async t => {
  const store = new SharedStore(dice(9))
  const [one, two] = [await serve(t, { eventLog: store.node().open }), await serve(t, { eventLog: store.node().open })]
  const clients = [await connect(t, one.port, { path: '/room?as=a' }), await connect(t, two.port, { path: '/room?as=b' })]
  await present(one, 'a', 'b')
  const page = await connect(t, two.port, { path: '/who' })
  await page.until('{"members":["a","b"]}')
  await store.log('sse.presence:room').lose()
  await present(one, 'a', 'b')
  await page.until('event: members', page.received.indexOf('event: sse.reset'))
  const here = new Set<string>()
  await until('the page has both', () => {
    for (const [, event, data] of page.received.matchAll(/^event: (\w+)\nid: .*\ndata: (.*)$/gm)) {
      const { members, member } = JSON.parse(data!) as { members?: string[], member?: string }
      if (event === 'members') here.clear()
      for (const each of members ?? []) here.add(each)
      if (event === 'join') here.add(member!)
    }
    return [...here].toSorted().join() === 'a,b'
  })
  for (const client of clients) client.socket.destroy()
  await present(one)
})

t.test('the members of a server leave at once when it closes, also those of loops', async t => {
  const store = new SharedStore(dice(5))
  const [one, two] = [await serve(t, { eventLog: store.node().open }), await serve(t, { eventLog: store.node().open })]
  const client = await connect(t, one.port, { path: '/room?as=a' })
  await client.until('\r\n\r\n')
  const loop = (async () => {
    for await (const { event } of roomOf(one).subscribe({ as: 'loop' })) t.fail(String(event))
  })()
  await present(two, 'a', 'loop')
  const since = performance.now()
  await one.app.close()
  t.strictSame(await roomOf(two).members(), [])
  t.ok(performance.now() - since < 1_000)
  await within('the end of the loop', loop)
  await t.rejects(roomOf(one).members(), { code: 'FST_SSE_CLOSING' })
  t.strictSame((await changesOf(store)()).toSorted(), ['join a', 'join loop', 'leave a', 'leave loop'])
})

t.test('a presence stays in memory while it has members, and leaves it with its timer', async t => {
  const app = Fastify()
  await app.register(sse)
  t.teardown(() => app.close())
  const timers = (): number => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const before = timers()
  const room = app.sse.channel('brief', { history: { maxAge: 20 } })
  const loop = room.subscribe({ as: 'a' })[Symbol.asyncIterator]()
  const pending = loop.next()
  await pause(100)
  t.strictSame(await room.members(), ['a'])
  await loop.return!()
  await pending
  await until('both have left', () => app.sse.stats().channels === 0)
  t.equal(timers(), before)
})

t.test('a worker is present, and leaves when its publisher closes', async t => {
  const store = new SharedStore()
  const one = await serve(t, { eventLog: store.node().open })
  const worker = await publisher(store.node().open)
  const loop = worker.channel('room', options).subscribe({ as: 'worker' })[Symbol.asyncIterator]()
  const pending = loop.next()
  await present(one, 'worker')
  t.strictSame(await worker.channel('room', options).members(), ['worker'])
  await worker.close()
  t.strictSame(await roomOf(one).members(), [])
  await within('the end of the loop', pending)
})

t.test('the close of a server waits one second at most for a store that is away', async t => {
  const store = new SharedStore()
  const node = store.node()
  const one = await serve(t, { eventLog: node.open })
  const client = await connect(t, one.port, { path: '/room?as=a' })
  await client.until('\r\n\r\n')
  await present(one, 'a')
  node.away = 'hangs'
  const since = performance.now()
  await one.app.close()
  t.ok(performance.now() - since < 5_000)
})

t.test('one stream has members of many channels, and loops start and stop', async t => {
  const app = Fastify()
  await app.register(sse)
  const [red, blue] = [app.sse.channel('red', options), app.sse.channel('blue', options)]
  app.get('/', (_request, reply) => reply.sse([red.subscribe({ as: 'x' }), blue.subscribe({ as: 'y' }), red.presence]))
  const port = await listen(t, app)
  const client = await connect(t, port, {})
  await client.until('"x"')
  t.strictSame([await red.members(), await blue.members()], [['x'], ['y']])
  const loop = red.subscribe({ as: 'loop' })[Symbol.asyncIterator]()
  t.strictSame(await red.members(), ['x'], 'a loop that has not started is not present')
  const pending = loop.next()
  await client.until('"loop"')
  await loop.return!()
  await within('the end', pending)
  await client.until('leave')
  client.socket.destroy()
  await until('no member', async () => (await red.members()).length + (await blue.members()).length === 0)
})

t.test('a log without members rejects a stream with a member before its head, and no other one', async t => {
  const app = Fastify()
  await app.register(sse, {
    eventLog: (...args) => {
      const { hold: _hold, members: _members, ...log } = bound(memoryLog()(...args))
      return log
    }
  })
  const room = app.sse.channel('room', options)
  app.get('/as', (_request, reply) => reply.sse(room.subscribe({ as: 'a' })))
  app.get('/presence', (_request, reply) => reply.sse(room.presence))
  app.get('/', (_request, reply) => reply.sse(room))
  const port = await listen(t, app)
  for (const path of ['/as', '/presence']) {
    const response = await fetch(`http://127.0.0.1:${port}${path}`)
    t.match([response.status, await response.json()], [500, { code: 'FST_SSE_LOG_METHOD' }])
  }
  await t.rejects(room.members(), { code: 'FST_SSE_LOG_METHOD' })
  t.match((await connect(t, port, {}).then(client => client.until('\r\n\r\n'))), /^HTTP\/1.1 200/)
})

/** Returns a log as a plain object with its own methods. */
function bound<L extends object> (log: L): L {
  return new Proxy({} as L, {
    ownKeys: () => Reflect.ownKeys(Object.getPrototypeOf(log) as object).filter(key => key !== 'constructor'),
    getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }),
    get: (_target, key) => {
      const value: unknown = Reflect.get(log, key, log)
      return typeof value === 'function' ? value.bind(log) as unknown : value
    }
  })
}
