import { setTimeout as pause } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import sse from '../../lib/index.ts'
import { postgresLog } from '../../lib/postgres.ts'
import { listen } from '../setup/listen.ts'
import { PostgresServer } from '../setup/postgres.ts'
import { absent, POSTGRES } from '../setup/programs.ts'
import { open, type RawClient } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

t.setTimeout(300_000)

const events = { tick: Type.Integer() }
const COUNT = 300

t.test('R8: two nodes with one PostgreSQL', { skip: absent(POSTGRES) }, async t => {
  const server = await PostgresServer.start(t)
  const users = server.pool(t)
  users.on('connect', client => { client.on('error', () => {}) })
  const serve = async (t: Test) => {
    const app = Fastify()
    const port = await listen(t, app.register(sse, { eventLog: postgresLog(server.pool(t), { timeout: 20_000 }) })
      .after(() => {
        app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse(app.sse.channel('ticks', { events })))
      }))
    return { port, channel: app.sse.channel('ticks', { events }) }
  }
  const read = async (t: Test, port: number, id?: string): Promise<RawClient> => {
    const client = await open(port, { path: '/', headers: id === undefined ? {} : { 'last-event-id': id } })
    t.teardown(() => client.socket.destroy())
    return client
  }
  /** The ids and the data of the received events. */
  const received = (client: RawClient): Array<[id: number, data: number]> =>
    [...client.responses()[0]!.body.matchAll(/event: tick\nid: \w+-(\d+)\ndata: (\d+)\n\n/g)]
      .map(([, id, data]) => [Number(id), Number(data)])

  t.test('a crash delays the events of both, in and outside of transactions, and none is lost or doubled', async t => {
    const nodes = await Promise.all([serve(t), serve(t)])
    const clients = await Promise.all(nodes.map(async ({ port }) => read(t, port)))
    for (const client of clients) await client.until(': live')
    const committed: number[] = []
    const publishAll = nodes.map(async ({ channel }, node) => {
      for (let n = node; n < COUNT; n += 2) {
        if (n % 10 < 2) {
          const client = await users.connect()
          try {
            await client.query('BEGIN')
            await channel.publish({ event: 'tick', data: n }, { client })
            await client.query(n % 20 < 2 ? 'ROLLBACK' : 'COMMIT')
            if (n % 20 >= 2) committed.push(n)
            client.release()
          } catch {
            // A commit without an answer may have been done.
            client.release(true)
          }
        } else {
          await channel.publish({ event: 'tick', data: n })
          committed.push(n)
        }
      }
    })
    await pause(300)
    await server.kill()
    await server.start()
    await within('all publishers', Promise.all(publishAll))
    await nodes[0].channel.publish({ event: 'tick', data: COUNT })
    for (const client of clients) await within('the last event', client.until(`data: ${COUNT}\n\n`))
    const [first, other] = clients.map(received)
    t.strictSame(first, other)
    t.strictSame(first!.map(([id]) => id), first!.map((_, index) => index + 1), 'ids are contiguous')
    const data = first!.map(([, data]) => data)
    t.equal(new Set(data).size, data.length, 'no event is doubled')
    t.strictSame(committed.filter(n => !data.includes(n)), [], 'no event is lost')
    t.strictSame(data.filter(n => n % 20 < 2 && n !== COUNT), [], 'no event of a transaction that was rolled back')

    const [id] = /\w+-7\b/.exec(clients[0]!.responses()[0]!.body)!
    const resumed = await read(t, nodes[1].port, id)
    await resumed.until(`data: ${COUNT}\n\n`)
    t.strictSame(received(resumed), first!.slice(7), 'a client resumes on the other node')
  })
})
