import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type EventMap } from '../../lib/index.ts'
import { redisLog } from '../../lib/redis.ts'
import { listen } from '../setup/listen.ts'
import { absent, REDIS } from '../setup/programs.ts'
import { open, type RawClient } from '../setup/raw.ts'
import { RedisServer } from '../setup/redis.ts'
import { within } from '../setup/within.ts'

t.setTimeout(300_000)

// The log outlives a deployment: nodes of two versions share a channel in Redis (C5).

const User = Type.Object({ name: Type.String() })
const OLD = {
  user: Type.Object({ name: Type.String(), email: Type.String() }),
  gone: Type.String(),
  end: Type.String()
}
const NEW = { user: User, end: Type.String() }

interface Node {
  app: FastifyInstance
  publish: (event: string, data: unknown) => Promise<string>
  openClient: (path: string, id?: string) => Promise<RawClient>
  warnings: string[]
}

t.test('with Redis', { skip: absent(REDIS) }, async t => {
  const server = await RedisServer.start(t)
  let names = 0

  async function nodeOf (t: Test, events: EventMap, name: string): Promise<Node> {
    const warnings: string[] = []
    const app = Fastify({ logger: { level: 'warn', stream: { write: line => { warnings.push(line) } } } })
    await app.register(sse, { eventLog: redisLog(server.client(t)) })
    const options = {
      events,
      slowConsumer: { compactBy: ({ event }: { event: string }) => event },
      history: { maxEvents: 1_000 }
    }
    const news = app.sse.channel(name, options)
    const schema = { sse: events }
    app.get('/plain', { schema }, (_request, reply) => reply.sse(news))
    app.get('/filtered', { schema },
      (_request, reply) => reply.sse(news.subscribe({ filter: ({ event }) => event.length > 0 })))
    app.get('/state', { schema }, (_request, reply) => reply.sse(news.subscribe({ start: 'earliest' })))
    const port = await listen(t, app)
    const openClient = async (path: string, id?: string): Promise<RawClient> => {
      const client = await open(port, { path, ...id === undefined ? {} : { headers: { 'Last-Event-ID': id } } })
      t.teardown(() => client.socket.destroy())
      return client
    }
    return { app, publish: (event, data) => news.publish({ event, data } as never), openClient, warnings }
  }
  const pair = async (t: Test): Promise<[Node, Node]> => {
    const name = `deploy ${++names}`
    return [await nodeOf(t, OLD, name), await nodeOf(t, NEW, name)]
  }

  t.test('C5: a node never sends a property that its map does not declare, live or replayed', async t => {
    const [before, after] = await pair(t)
    const start = await after.publish('end', 'start')
    const live = [await after.openClient('/plain'), await after.openClient('/filtered')]
    const kept = await before.openClient('/plain')
    for (const client of [...live, kept]) await client.until('-1\n')
    for (const n of [1, 2, 3]) await before.publish('user', { name: `Ann ${n}`, email: `ann${n}@mail` })
    await before.publish('gone', 'gone')
    const last = await before.publish('end', 'all')
    const late = [await after.openClient('/plain', start), await after.openClient('/filtered', start),
      await after.openClient('/state')]
    for (const client of [...live, ...late, kept]) await within('the last', client.until('data: all\n\n'))
    for (const client of [...live, ...late]) {
      t.strictSame(
        [...client.received.matchAll(/^data: (.*)$/gm)].map(([, data]) => data).filter(data =>
          data !== 'start' && data !== ''
        ),
        ['{"name":"Ann 1"}', '{"name":"Ann 2"}', '{"name":"Ann 3"}', 'all']
      )
      t.notMatch(client.received, /mail|gone|sse\.(gap|reset)/)
      t.match(client.received, new RegExp(`event: end\nid: ${last}\ndata: all\n`),
        'its position is after the excluded entries')
    }
    t.match(kept.received, /ann3@mail[^]*event: gone/, 'the older node is not affected')
    t.equal(after.app.sse.stats().omitted, 1, 'once for all readers')
    t.equal(before.app.sse.stats().omitted, 0)
    const warnings = after.warnings.map(line => JSON.parse(line) as Record<string, unknown>)
    t.equal(warnings.length, 1)
    t.match(warnings[0], { event: 'gone', msg: 'sse events in the log do not match the event map and are omitted' })
  })

  t.test('C5: a client skips an entry that its node cannot send: its position moves on, and it resumes after it', async t => {
    const [before, after] = await pair(t)
    const client = await after.openClient('/plain')
    await client.until('-0\n')
    const ids = await Promise.all(Array.from({ length: 300 }, async (_, n) => before.publish('gone', `${n}`)))
    const place = new RegExp(`^id: (${ids.slice(128).join('|')})$`, 'm')
    while (!place.test(client.received)) await new Promise(setImmediate)
    t.notMatch(client.received, /sse\.gap|event: gone/)
    const [, position] = place.exec(client.received)!
    client.socket.destroy()
    await before.publish('end', 'x')
    const back = await after.openClient('/plain', position)
    await within('the later events', back.until('data: x\n\n'))
    t.notMatch(back.received, /sse\.(gap|reset)|gone/)
  })

  t.test('C5: an event that was added to a map does not cause a check of the others', async t => {
    const [before] = await pair(t)
    const more = await nodeOf(t, { ...OLD, more: Type.String() }, `deploy ${names}`)
    await before.publish('gone', 'same')
    const id = await before.publish('user', { name: 'Ann', email: 'a@b' })
    const client = await more.openClient('/state')
    await within('both', client.until(`id: ${id}\ndata: {"name":"Ann","email":"a@b"}\n\n`))
    t.match(client.received, 'data: same')
  })

  t.test('C5: the error that ended a channel on another node is sent by all nodes', async t => {
    const [before, after] = await pair(t)
    const client = await after.openClient('/filtered')
    await client.until('-0\n')
    const produced = before.app.sse.find(`deploy ${names}`)!.publishFrom((async function * () {
      throw new Error('secret')
    })())
    await t.rejects(produced, { message: 'secret' })
    await within('the end', client.until('0\r\n\r\n'))
    t.match(client.received,
      /event: error\nid: \w+-1\ndata: \{"type":"about:blank","title":"Internal Server Error","status":500\}/)
  })
})
