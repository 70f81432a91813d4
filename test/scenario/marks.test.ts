import { setImmediate as turn } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import fc from 'fast-check'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import sse, { type Channel, type ChannelOptions, type CloseReport, type RegisterOptions } from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { CAUGHT_UP, live, replay } from '../setup/marks.ts'
import { open, type RawClient, type RawRequest } from '../setup/raw.ts'
import { Track } from '../setup/track.ts'
import { within } from '../setup/within.ts'

// R9, over real sockets: the marks for a client that counts offsets.

type Test = Pick<typeof t, 'teardown'>

interface Served {
  app: FastifyInstance
  port: number
  news: Channel
  other: Channel
  epoch: string
  reports: CloseReport[]
  openClient: (request?: RawRequest) => Promise<RawClient>
}

async function serve (t: Test, options: ChannelOptions = {}, registered: RegisterOptions = {}): Promise<Served> {
  const reports: CloseReport[] = []
  const app = Fastify()
  await app.register(sse, { onClose: report => { reports.push(report) }, ...registered })
  const [news, other] = [app.sse.channel('news', options), app.sse.channel('other', options)]
  app.get('/', (_request, reply) => reply.sse(news))
  app.get('/both', (_request, reply) => reply.sse([news, other]))
  app.get('/state',
    (_request, reply) =>
      reply.sse(news.subscribe({ snapshot: () => [{ event: 'state', data: 'a' }, { event: 'state', data: 'b' }] })))
  app.get('/none', (_request, reply) => reply.sse(news.subscribe({ filter: () => false })))
  const port = await listen(t, app)
  const { epoch } = await news.position()
  const openClient = async (request: RawRequest = {}): Promise<RawClient> => {
    const client = await open(port, request)
    t.teardown(() => client.socket.destroy())
    return client
  }
  return { app, port, news, other, epoch, reports, openClient }
}

const frame = (epoch: string, n: number): string => `id: ${epoch}-${n}\ndata: ${n}\n\n`
const returning = (id: string): RawRequest => ({ headers: { 'Last-Event-ID': id } })

async function publish (channel: Channel, ...data: unknown[]): Promise<void> {
  for (const each of data) await channel.publish({ data: each })
}

async function whole (client: RawClient): Promise<string> {
  await within('the end', client.until('0\r\n\r\n'))
  return client.responses()[0]!.body
}

t.test('R9: a new client, a client that reconnects at the end, and a client that missed events are distinguished by the marks; exact bytes', async t => {
  const { news, epoch, openClient, reports } = await serve(t)
  await publish(news, 1, 2)
  const clients = [await openClient(), await openClient(returning(`${epoch}-2`)),
    await openClient(returning(`${epoch}-0`)), await openClient({ path: '/state' }),
    await openClient({ path: '/none', ...returning(`${epoch}-0`) })]
  await within('their openings', Promise.all(clients.map(client => client.until('\n\n'))))
  await publish(news, 3)
  await within('the event after it', Promise.all(clients.slice(0, 4).map(client => client.until(frame(epoch, 3)))))
  await news.end()
  t.strictSame(await Promise.all(clients.map(whole)), [
    live(`event: sse.position\nid: ${epoch}-2\ndata: \n\n`) + frame(epoch, 3),
    live(`event: sse.position\nid: ${epoch}-2\ndata: \n\n`) + frame(epoch, 3),
    replay(`event: sse.position\nid: ${epoch}-0\ndata: \n\n`) + frame(epoch, 1) + frame(epoch, 2) + CAUGHT_UP +
    frame(epoch, 3),
    live('event: state\ndata: a\n\n') + `event: state\nid: ${epoch}-2\ndata: b\n\n` + frame(epoch, 3),
    replay(`event: sse.position\nid: ${epoch}-0\ndata: \n\n`) + `event: sse.position\nid: ${epoch}-2\ndata: \n\n` +
    CAUGHT_UP + `event: sse.position\nid: ${epoch}-3\ndata: \n\n`
  ])
  await within('the reports', (async () => { while (reports.length < 5) await turn() })())
  t.strictSame(reports.map(({ events }) => events).sort(), [0, 1, 1, 3, 3], 'a mark is no event')
  t.strictSame(reports.map(({ lastEventId }) => lastEventId), Array(5).fill(`${epoch}-3`), 'and no position')
})

t.test('R9: the end of a channel replaces the mark', async t => {
  const { news, epoch, openClient } = await serve(t, { start: 'earliest' })
  await publish(news, 1)
  await news.end()
  t.equal(await whole(await openClient()), replay(`event: sse.position\nid: ${epoch}-0\ndata: \n\n`) + frame(epoch, 1))
})

t.test('R9: with two channels, the mark is sent when both are live', async t => {
  const { news, other, epoch, openClient } = await serve(t)
  const { epoch: another } = await other.position()
  await publish(news, 1)
  const client = await openClient({ path: '/both', ...returning(`${epoch}-0.${another}-0`) })
  await within('its history', client.until(CAUGHT_UP))
  await publish(other, 1)
  await news.end()
  await other.end()
  t.equal(await whole(client),
    replay(`event: sse.position\nid: ${epoch}-0.${another}-0\ndata: \n\n`) +
      `id: ${epoch}-1.${another}-0\ndata: 1\n\n` + CAUGHT_UP + `id: ${epoch}-1.${another}-1\ndata: 1\n\n`)
})

t.test('R9: a client that does not read gets the live mark once, after its replay', async t => {
  const PAD = 'x'.repeat(16_384)
  const { app, news, openClient } = await serve(t, { start: 'earliest', history: { maxBytes: 64 * 1024 * 1024 } })
  for (let n = 0; n < 1_000; n++) await news.publish({ data: PAD })
  const client = await openClient({ pauseOnConnect: true })
  while (news.subscribers === 0) await turn()
  const one = await news.publish({ data: 'while it does not read' })
  await turn()
  client.resume()
  await within('the mark', client.until(CAUGHT_UP))
  await news.publish({ data: 'when it does' })
  await news.end()
  const body = await whole(client)
  const track = new Track(body)
  t.strictSame(track.marks, ['replay', 'live'])
  t.equal(track.events.length, 1_002)
  t.ok(body.indexOf(CAUGHT_UP) > body.indexOf(`id: ${one}\n`) && body.indexOf(CAUGHT_UP) < body.indexOf('when it does'))
  await app.close()
})

t.test('R9: an invalid event that a route skips is not lost silently', async t => {
  const app = Fastify()
  await app.register(sse, { onInvalid: 'skip' })
  const news = app.sse.channel('news', { start: 'earliest' })
  const map = (event: { data: unknown }): { event: 'number', data: number } => ({
    event: 'number',
    data: event.data as number
  })
  app.get('/', { schema: { sse: { number: Type.Number() } } }, (_request, reply) => reply.sse(news.subscribe({ map })))
  await publish(news, 1, 'two', 'three', 4)
  await news.end()
  const { epoch } = await news.position()
  const numbered = (n: number): string => `event: number\nid: ${epoch}-${n}\ndata: ${n}\n\n`
  t.equal((await app.inject('/')).payload,
    replay(`event: sse.position\nid: ${epoch}-0\ndata: \n\n`) + numbered(1) +
      `event: sse.position\nid: ${epoch}-3\ndata: \n\n` + numbered(4))
})

t.test('R9: with any filters and maps, a client that counts and reconnects many times can prove that no event is missing', async t => {
  const wanted = fc.integer({ min: 0, max: 127 })
  await fc.assert(
    fc.asyncProperty(wanted, wanted, fc.boolean(),
      fc.array(fc.tuple(fc.nat(1), fc.integer({ min: 1, max: 9 }), fc.boolean()), { minLength: 1, maxLength: 15 }),
      async (filtered, mapped, both, steps) => {
        const has = (bits: number, data: unknown): boolean => (bits & (1 << (Number(data) % 7))) > 0
        const app = Fastify()
        await app.register(sse)
        const [news, other] = [app.sse.channel('news', { start: 'earliest' }),
          app.sse.channel('other', { start: 'earliest' })]
        const ways = [news.subscribe({ filter: ({ data }) => has(filtered, data) }), other.subscribe({
          map: event =>
            has(mapped, event.data) ? { data: event.data } : undefined
        })]
        app.get('/', (_request, reply) => reply.sse(both ? ways : [ways[0]!]))
        try {
          const port = Number(new URL(await app.listen({ host: '127.0.0.1', port: 0 })).port)
          const epochs = [(await news.position()).epoch, (await other.position()).epoch]
          const truth: number[][] = [[], []]
          const seen: number[][] = [[], []]
          let id: string | undefined
          const leave = async (client: RawClient): Promise<void> => {
            client.reset()
            await client.closed
            const track = new Track(client.responses()[0]?.body ?? '')
            if (id !== undefined && track.first !== undefined && track.first !== id) {
              throw new Error(`it resumed at ${track.first}, from ${id}`)
            }
            for (const { epoch, data } of track.events) seen[epochs.indexOf(epoch)]!.push(Number(data))
            id = track.id || id
          }
          const come = async (): Promise<RawClient> => {
            const client = await open(port, id === undefined ? {} : returning(id))
            await within('its opening', client.until('\n\n'))
            return client
          }
          let client = await come()
          for (const [which, count, comesBack] of steps) {
            for (let n = 0; n < count; n++) {
              truth[which]!.push(truth[which]!.length + 1)
              await [news, other][which]!.publish({ data: truth[which]!.length })
            }
            if (!comesBack) continue
            await leave(client)
            client = await come()
          }
          await news.end()
          await other.end()
          await within('the end', client.until('0\r\n\r\n'))
          await leave(client)
          const expected = [truth[0]!.filter(n => has(filtered, n)), both ? truth[1]!.filter(n => has(mapped, n)) : []]
          return JSON.stringify(seen) === JSON.stringify(expected) &&
            id === epochs.slice(0, both ? 2 : 1).map((epoch, index) => `${epoch}-${truth[index]!.length}`).join('.')
        } finally {
          await app.close()
        }
      }),
    { numRuns: 40 }
  )
  t.pass('whatever happened in between')
})
