import { setImmediate as turn } from 'node:timers/promises'
import { createParser } from 'eventsource-parser'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type RegisterOptions } from '../../lib/index.ts'
import { redisLog } from '../../lib/redis.ts'
import { listen } from '../setup/listen.ts'
import { absent, REDIS } from '../setup/programs.ts'
import { open, type RawRequest } from '../setup/raw.ts'
import { RedisServer } from '../setup/redis.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

// R3, W8, over real sockets: a client that missed nothing is never reset.

const position = (epoch: string, offset: number): string => `event: sse.position\nid: ${epoch}-${offset}\ndata: \n\n`
const returning = (id: string): RawRequest => ({ headers: { 'Last-Event-ID': id } })

for (const history of [{ maxEvents: 5 }, { maxEvents: 0 }, { maxBytes: 60 }, { maxAge: 1_000 }]) {
  for (const way of ['filter', 'map'] as const) {
    t.test(`R3: events that a ${way} excludes evict no client from a history of ${JSON.stringify(history)}`, async t => {
      const app = Fastify()
      await app.register(sse, { heartbeatInterval: 0 })
      const news = app.sse.channel('news', { history })
      const mine = ({ data }: { data: unknown }): boolean => (data as { mine: boolean }).mine
      const options = way === 'filter'
        ? { filter: mine }
        : { map: (event: { data: unknown }) => mine(event) ? { data: event.data } : undefined }
      app.get('/', (_request, reply) => reply.sse(news.subscribe(options)))
      const port = await listen(t, app)
      const { epoch } = await news.position()
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

t.test('R3: a client that reconnects for more channels resumes the known ones, and is new to the others', async t => {
  const app = Fastify()
  await app.register(sse)
  const [one, two] = [app.sse.channel('one'), app.sse.channel('two')]
  app.get('/', (_request, reply) => reply.sse([one, two]))
  const port = await listen(t, app)
  const first = await one.publish({ data: 1 })
  const second = await one.publish({ data: 2 })
  const { id } = await two.position()
  const client = await open(port, returning(first))
  t.teardown(() => client.socket.destroy())
  await within('the missed events', client.until('data: 2\n\n'))
  await one.end()
  await two.end()
  await within('the end', client.until('0\r\n\r\n'))
  t.equal(client.responses()[0]?.body,
    `: replay\nevent: sse.position\nid: ${first}.${id}\ndata: \n\nid: ${second}.${id}\ndata: 2\n\n: live\n\n`)
})

/** One connection of a client that reads like the MCP SDK: it keeps the id of each event, and parses unnamed events. */
async function followMcp (t: Test, url: string, lastEventId?: string) {
  const leaving = new AbortController()
  t.teardown(() => leaving.abort())
  const accept = lastEventId === undefined ? 'application/json, text/event-stream' : 'text/event-stream'
  const response = await fetch(url, {
    method: lastEventId === undefined ? 'POST' : 'GET',
    headers: { accept, ...lastEventId !== undefined && { 'last-event-id': lastEventId } },
    signal: leaving.signal
  })
  const seen = {
    status: response.status,
    id: lastEventId,
    messages: [] as unknown[],
    failure: undefined as unknown,
    cut: () => leaving.abort()
  }
  const parser = createParser({
    onEvent: ({ id, event, data }) => {
      if (id) seen.id = id
      if (event === undefined || event === 'message') seen.messages.push(JSON.parse(data))
    },
    onError: error => { seen.failure = error }
  })
  const read = async (): Promise<void> => {
    const decoder = new TextDecoder()
    for await (const bytes of response.body!) parser.feed(decoder.decode(bytes as Uint8Array, { stream: true }))
  }
  read().catch((error: Error) => { if (error.name !== 'AbortError') seen.failure = error })
  return seen
}

t.test('R3, W8: an MCP client that is cut before its first event resumes at its position', async t => {
  // To Node a connection without a request is not idle: it would keep the server open for `headersTimeout`.
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse)
  const session = app.sse.channel('session')
  app.post('/mcp', (_request, reply) => reply.sse(session))
  app.get('/mcp', (_request, reply) => reply.sse(session))
  const url = `http://127.0.0.1:${await listen(t, app)}/mcp`
  const progress = (n: number): object => ({ jsonrpc: '2.0', method: 'notifications/progress', params: { n } })
  await session.publish({ data: progress(0) })
  const { id } = await session.position()

  const first = await followMcp(t, url)
  await until('its position', () => first.id !== undefined)
  t.match(first, { status: 200, id, messages: [], failure: undefined })
  first.cut()
  await until('its leaving', () => session.subscribers === 0)
  for (const n of [1, 2]) await session.publish({ data: progress(n) })

  const second = await followMcp(t, url, first.id)
  await until('the missed events', () => second.messages.length >= 2)
  t.strictSame(second.messages, [progress(1), progress(2)])
  await session.publish({ data: progress(3) })
  await until('the next event', () => second.messages.length >= 3)
  t.match(second, {
    status: 200,
    id: (await session.position()).id,
    messages: [{}, {}, progress(3)],
    failure: undefined
  })
})

t.test('over Redis', { skip: absent(REDIS) }, async t => {
  const server = await RedisServer.start(t)
  const node = async (options: RegisterOptions = {}): Promise<FastifyInstance> => {
    const app = Fastify()
    await app.register(sse, { eventLog: redisLog(server.client(t)), heartbeatInterval: 0, ...options })
    return app
  }

  t.test('R3: events that a filter excludes evict no client from a short history, whichever node publishes them', async t => {
    const [here, there] = [await node(), await node()]
    const history = { maxEvents: 5 }
    const [news, published] = [here, there].map(app => app.sse.channel('filtered', { history }))
    t.teardown(() => there.close())
    here.get('/',
      (_request, reply) => reply.sse(news!.subscribe({ filter: ({ data }) => (data as { mine: boolean }).mine })))
    const port = await listen(t, here)
    const { epoch } = await published!.position()
    const client = await open(port)
    t.teardown(() => client.socket.destroy())
    await within('its position', client.until(position(epoch, 0)))
    const sent = [{ mine: true, n: 0 }, ...Array.from({ length: 20 }, () => ({ mine: false }))].map(data =>
      published!.publish({ data })
    )
    await Promise.all(sent)
    const offset = (): number => Number([...client.received.matchAll(/^id: \w+-(\d+)$/gm)].at(-1)?.[1])
    // The history has 17 to 21: a client at 16 has missed nothing.
    await until('a position that the history has', () => offset() >= 16)
    client.reset()
    await client.closed
    await until('its leaving', () => news!.subscribers === 0)
    const back = await open(port, returning(`${epoch}-${offset()}`))
    t.teardown(() => back.socket.destroy())
    await within('its opening', back.until(': live'))
    await published!.publish({ data: { mine: true, n: 1 } })
    await within('the next event', back.until('"n":1'))
    t.equal((client.received + back.received).includes('sse.reset'), false)
    t.equal(back.received.includes('"n":0'), false, 'nothing is duplicated')
  })

  t.test('R3: a client that reconnects for more channels is new to the added ones', async t => {
    const app = await node()
    const [one, two] = [app.sse.channel('one'), app.sse.channel('two')]
    app.get('/', (_request, reply) => reply.sse([one, two]))
    const port = await listen(t, app)
    const first = await one.publish({ data: 1 })
    const second = await one.publish({ data: 2 })
    await two.publish({ data: 'of before' })
    const { id } = await two.position()
    const client = await open(port, returning(first))
    t.teardown(() => client.socket.destroy())
    await within('the missed events', client.until('data: 2\n\n'))
    await one.end()
    await two.end()
    await within('the end', client.until('0\r\n\r\n'))
    t.equal(client.responses()[0]?.body,
      `: replay\nevent: sse.position\nid: ${first}.${id}\ndata: \n\nid: ${second}.${id}\ndata: 2\n\n: live\n\n`)
  })
})
