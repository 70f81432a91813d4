import { setImmediate as turn } from 'node:timers/promises'
import Fastify from 'fastify'
import t from 'tap'
import sse from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { open, type RawRequest } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

// R3, W8, over real sockets: a client that missed nothing is never reset.

const position = (epoch: string, offset: number): string => `event: sse.position\nid: ${epoch}-${offset}\ndata: \n\n`
const returning = (id: string): RawRequest => ({ headers: { 'Last-Event-ID': id } })

for (const history of [{ events: 5 }, { events: 0 }, { bytes: 60 }, { age: 1_000 }]) {
  for (const way of ['filter', 'map'] as const) {
    t.test(`R3: what a ${way} leaves out pushes nobody out of a history of ${JSON.stringify(history)}`, async t => {
      const app = Fastify()
      await app.register(sse, { heartbeatInterval: 0 })
      const news = app.sse.channel('news', { history })
      const mine = ({ data }: { data: unknown }): boolean => (data as { mine: boolean }).mine
      const options = way === 'filter' ? { filter: mine } : { map: (event: { data: unknown }) => mine(event) ? { data: event.data } : undefined }
      app.get('/', (_request, reply) => reply.sse(news.subscribe(options)))
      const port = await listen(t, app)
      const { epoch } = await news.head()
      const client = await open(port)
      t.teardown(() => client.socket.destroy())
      await within('its position', client.until(position(epoch, 0)))
      await news.publish({ data: { mine: true } })
      for (let n = 0; n < 20; n++) news.publish({ data: { mine: false } })
      await within('the position after them', client.until(position(epoch, 21)))
      client.reset()
      await client.closed
      while (news.subscribers > 0) await turn()
      const back = await open(port, returning(`${epoch}-21`))
      t.teardown(() => back.socket.destroy())
      await within('its opening', back.until('\n\n'))
      await news.end()
      await within('the end', back.until('0\r\n\r\n'))
      t.equal(back.responses()[0]?.body, `: live\n${position(epoch, 21)}`)
    })
  }
}

t.test('R3: a client that comes back for more channels goes on with those that it had, and is a newcomer to the others', async t => {
  const app = Fastify()
  await app.register(sse)
  const [one, two] = [app.sse.channel('one'), app.sse.channel('two')]
  app.get('/', (_request, reply) => reply.sse([one, two]))
  const port = await listen(t, app)
  const first = await one.publish({ data: 1 })
  const second = await one.publish({ data: 2 })
  const { id } = await two.head()
  const client = await open(port, returning(first))
  t.teardown(() => client.socket.destroy())
  await within('what it missed', client.until('data: 2\n\n'))
  await one.end()
  await two.end()
  await within('the end', client.until('0\r\n\r\n'))
  t.equal(client.responses()[0]?.body, `: replay\nevent: sse.position\nid: ${first}.${id}\ndata: \n\nid: ${second}.${id}\ndata: 2\n\n: live\n\n`)
})
