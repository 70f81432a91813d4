import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { connect } from '../../lib/client.ts'
import { doctor } from '../../lib/cli/doctor.ts'
import { tail } from '../../lib/cli/tail.ts'
import sse, { memoryLog, type ChannelOptions, type EventLogFactory, type RegisterOptions } from '../../lib/index.ts'
import { postgresLog } from '../../lib/postgres.ts'
import { redisLog } from '../../lib/redis.ts'
import { sqliteLog } from '../../lib/sqlite.ts'
import { injectStream } from '../../lib/testing.ts'
import { listen } from '../setup/listen.ts'
import { PostgresServer } from '../setup/postgres.ts'
import { absent, POSTGRES, REDIS } from '../setup/programs.ts'
import { open, type RawClient } from '../setup/raw.ts'
import { RedisServer } from '../setup/redis.ts'
import { Shell } from '../setup/shell.ts'
import { openDatabase } from '../setup/sqlite.ts'
import { Track } from '../setup/track.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

t.setTimeout(300_000)

const HOUR = 3_600_000

/** Every fifth number has no key; the others share four. */
const keyOf = (n: number): number | undefined => n % 5 === 0 ? undefined : n % 5
const key = ({ data }: { data: unknown }): unknown => keyOf(Number(data))

async function serve (t: Test, options: ChannelOptions, registered: RegisterOptions = {}) {
  const app: FastifyInstance = Fastify()
  await app.register(sse, registered)
  const channel = app.sse.channel('numbers', options)
  app.get('/', (_request, reply) => reply.sse(channel))
  app.get('/all', (_request, reply) => reply.sse(channel.subscribe({ pace: null })))
  app.get('/lines', (_request, reply) => reply.sse(channel, { formats: ['ndjson'] }))
  app.get('/both', (_request, reply) => reply.sse([channel, app.sse.channel('other')]))
  app.get('/own', (_request, reply) => reply.sse(channel, { systemEvent: null }))
  const port = await listen(t, app)
  const openClient = async (path = '/', id = ''): Promise<RawClient> => {
    const client = await open(port, { path, headers: id === '' ? {} : { 'Last-Event-ID': id } })
    t.teardown(() => client.socket.destroy())
    await within('the opening', client.until(path === '/lines' ? 'sse.position' : ': '))
    return client
  }
  return { app, channel, port, openClient }
}

const bodyOf = (client: RawClient): string => client.responses()[0]?.body ?? ''
const numbersIn = (body: string): number[] => Array.from(body.matchAll(/^data: (\d+)$/gm), ([, n]) => Number(n))

async function survives (t: Test, eventLog: EventLogFactory, runs: number): Promise<void> {
  const served = await serve(t, { start: 'earliest', history: { maxEvents: 100_000 }, pace: { every: 3, key } },
    { eventLog })
  const { channel, openClient, app } = served
  let n = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 20 }), fc.nat(4), fc.option(fc.nat(400))), {
        minLength: 1,
        maxLength: 12
      }),
      async bursts => {
        const first = n + 1
        const begin = (await channel.position()).id
        const texts: string[] = []
        let client = await openClient('/', begin)
        for (const [count, pause, cut] of bursts) {
          await Promise.all(Array.from({ length: count }, () => channel.publish({ data: ++n })))
          await sleep(pause)
          if (cut === null) continue
          // The client keeps the bytes before the cut.
          client.socket.destroy()
          texts.push(bodyOf(client).slice(0, Math.max(0, bodyOf(client).length - cut)))
          client = await openClient('/', texts.map(text => new Track(text).id).findLast(id => id !== '') ?? begin)
        }
        // A multiple of five flushes what waits. The last client has not received it.
        do await channel.publish({ data: ++n }); while (n % 5 !== 0)
        await within('the last event', client.until(`data: ${n}\n\n`))
        texts.push(bodyOf(client))
        client.socket.destroy()
        const events = texts.flatMap(text => new Track(text).events)
        for (const [index, { offset }] of events.entries()) {
          if (index > 0 && offset <= events[index - 1]!.offset) throw new Error(`${offset} comes twice or late`)
        }
        const got = events.map(({ data }) => Number(data))
        const all = Array.from({ length: n - first + 1 }, (_, index) => first + index)
        for (const number of all) {
          const key = keyOf(number)
          const replaced = key !== undefined && all.some(later => later > number && keyOf(later) === key)
          if (!replaced && !got.includes(number)) throw new Error(`${number} is missing`)
        }
      }
    ),
    { numRuns: runs }
  )
  await until('no stream', () => app.sse.streams().length === 0)
  const { merged, dropped, gaps, resets } = app.sse.stats()
  t.ok(merged > 0)
  t.strictSame([dropped, gaps, resets], [0, 0, 0])
}

const RULE = 'R2, R5: a paced client that is cut at any byte and resumes misses no last value and no event without a key'
t.test(`${RULE}: in memory`, async t => await survives(t, memoryLog(), 60))
t.test(`${RULE}: with SQLite`, async t =>
  await survives(t, sqliteLog(openDatabase(join(t.testdir(), 'events.db'))), 20))
t.test(`${RULE}: with Redis`, { skip: absent(REDIS) }, async t =>
  await survives(t, redisLog((await RedisServer.start(t)).client(t)), 20))
t.test(`${RULE}: with PostgreSQL`, { skip: absent(POSTGRES) }, async t =>
  await survives(t, postgresLog((await PostgresServer.start(t)).pool(t)), 20))

t.test('R5: of each key, a subscriber gets at most one event per interval, and the last one', async t => {
  const { channel, openClient, app } = await serve(t, { pace: { every: 100, key } })
  const [paced, all] = [await openClient(), await openClient('/all')]
  const since = performance.now()
  let n = 0
  while (performance.now() - since < 600) {
    for (let count = 4; count > 0; count--) await channel.publish({ data: ++n % 5 === 0 ? ++n : n })
    await sleep(2)
  }
  await channel.end()
  await Promise.all([paced, all].map(client => within('the end', client.until('0\r\n\r\n'))))
  const numbers = numbersIn(bodyOf(all)).filter(n => n % 5 !== 0)
  const intervals = (performance.now() - since) / 100 + 2
  for (const key of [1, 2, 3, 4]) {
    const [of, paced4] = [numbers, numbersIn(bodyOf(paced))].map(list => list.filter(n => n % 5 === key))
    t.ok(paced4!.length <= intervals, `${paced4!.length} of ${of!.length} events in ${intervals.toFixed(1)} intervals`)
    t.equal(paced4!.at(-1), of!.at(-1))
  }
  t.ok(new Track(bodyOf(paced)).events.length > 0)
  t.equal(app.sse.stats().merged, numbersIn(bodyOf(all)).length - numbersIn(bodyOf(paced)).length)
})

t.test('R7: a server that closes sends all that waits, in each format', async t => {
  const { app, channel, openClient } = await serve(t, { pace: { every: HOUR, key } })
  const clients = [await openClient('/'), await openClient('/lines'), await openClient('/both')]
  await channel.publish({ data: 1 })
  for (const [index, client] of clients.entries()) {
    await within('the first', client.until(index === 1 ? '"data":1}' : 'data: 1\n'))
  }
  await channel.publish({ data: 2 })
  await channel.publish({ data: 6 })
  await channel.publish({ data: 7 })
  await app.close()
  for (const client of clients) await within('the end', client.closed)
  const [plain, lines, both] = clients.map(bodyOf)
  t.strictSame([plain!, both!].map(numbersIn), [[1, 6, 7], [1, 6, 7]])
  t.ok([plain!, both!].every(text => new Track(text.replace(/retry: \d+\n\n$/, '')).events.length === 3))
  t.strictSame(lines!.split('\n').filter(line => line !== '' && line.includes('"data":')).map(line => {
    const { event, data } = JSON.parse(line) as { event?: string, data: unknown }
    return event ?? data
  }), ['sse.position', 1, 'sse.position', 6, 7])
})

t.test('R5: a stream without events of the package gets the paced events alone', async t => {
  const { channel, port } = await serve(t, { pace: { every: HOUR, key } })
  const client = await open(port, { path: '/own' })
  t.teardown(() => client.socket.destroy())
  await until('the subscriber', () => channel.subscribers === 1)
  for (const data of [1, 6, 11]) channel.publish({ data })
  await within('the first', client.until('data: 11'))
  for (const data of [2, 7, 16]) channel.publish({ data })
  await channel.end()
  await within('the end', client.until('0\r\n\r\n'))
  t.strictSame(numbersIn(bodyOf(client)), [11, 7, 16])
  t.notMatch(bodyOf(client), 'sse.')
})

t.test('R9: the client, the test kit and the command line find no gap in a paced stream', async t => {
  const { app, channel, port } = await serve(t, { start: 'earliest', pace: { every: 5, key } })
  const url = `http://127.0.0.1:${port}/`
  const numbers = { message: 'json' } as const
  const client = connect(url, { events: numbers })
  const injected = await injectStream(app, { url: '/', events: numbers })
  const shell = new Shell()
  const code = tail.run([url, '--no-reconnect', '--json'], shell)
  const received: unknown[][] = [[], []]
  const read = async (stream: AsyncIterable<{ data: unknown }>, into: unknown[]): Promise<void> => {
    for await (const { data } of stream) into.push(data)
  }
  const reading = [read(client, received[0]!), read(injected, received[1]!)]
  await until('three subscribers', () => channel.subscribers === 3)
  for (let n = 1; n <= 300; n++) {
    await channel.publish({ data: n })
    if (n % 10 === 0) await sleep(1)
  }
  const seen = new Shell()
  await within('the doctor', doctor.run([url, '--seconds', '1', '--json'], seen))
  t.match(seen.stdout.text, 'The stream resumes after that id')
  await channel.end({ data: 305 })
  await within('the ends', Promise.all([...reading, code]))
  for (const list of received) {
    t.strictSame(list.filter(n => Number(n) % 5 === 0), Array.from({ length: 61 }, (_, index) => 5 * (index + 1)))
    t.strictSame(list.slice(-2), [300, 305])
  }
  t.strictSame(shell.stdout.lines.map(line => JSON.parse(line).data).filter(n => n % 5 === 0).length, 61)
  t.notMatch(shell.stderr.text, /missing/i)
})

t.test('a loop in this process has the pace of its subscription', async t => {
  const { channel } = await serve(t, {})
  const got: unknown[] = []
  const loop = (async () => {
    for await (const { data } of channel.subscribe({ pace: { every: HOUR, key } })) got.push(data)
  })()
  await until('the subscriber', () => channel.subscribers === 1)
  for (const data of [1, 6, 2]) channel.publish({ data })
  await until('the first', () => got.length === 2)
  for (const data of [11, 7, 16, 5, 21, 26]) channel.publish({ data })
  await channel.end()
  await within('the end', loop)
  t.strictSame(got, [6, 2, 7, 16, 5, 26])
})
