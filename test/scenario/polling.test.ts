import { setTimeout as delay } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type Channel } from '../../lib/index.ts'
import { redisLog } from '../../lib/redis.ts'
import { bundleFile, serveClient } from '../setup/bundle.ts'
import { inEachEngine } from '../setup/engines/each.ts'
import { listen } from '../setup/listen.ts'
import { absent, REDIS } from '../setup/programs.ts'
import { freePort, RedisServer } from '../setup/redis.ts'
import { keepsAll, toyProxy } from '../setup/toy-proxy.ts'

// A page behind a proxy that swallows event streams, in each engine.

t.setTimeout(300_000)

declare global {
  interface Window { polled: { numbers: number[], states: string[], failures: number } }
}

interface Node { app: FastifyInstance, numbers: Channel }

/** A node of the service: its pages, its streams and its channel, which Redis keeps. */
async function nodeOf (t: Test, redis: RedisServer, port: number): Promise<Node> {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse, {
    formats: ['event-stream', 'ndjson', 'json'],
    eventLog: redisLog(redis.client(t)),
    shutdownTimeout: 500,
    reconnectWindow: 100
  })
  const numbers = app.sse.channel('numbers', { history: { maxEvents: 100_000 } })
  app.get('/numbers', (_request, reply) => reply.sse(numbers))
  app.get('/lines', (_request, reply) => reply.sse([{ data: { n: 1 } }, { event: 'é', data: 'two' }]))
  const [poll] = (await bundleFile('lib/client/poll.ts')).outputFiles
  app.get('/poll.js', (_request, reply) => reply.type('text/javascript').send(poll!.text))
  await serveClient(app)
  await app.listen({ port, host: '127.0.0.1' })
  t.teardown(() => app.close())
  return { app, numbers }
}

inEachEngine(t, 1, (t, engine) => {
  t.test('every event arrives once and in order, also across a restart', { skip: absent(REDIS) }, async t => {
    const redis = await RedisServer.start(t)
    const port = await freePort()
    const publisher = Fastify()
    await publisher.register(sse, { eventLog: redisLog(redis.client(t)) })
    await listen(t, publisher)
    const numbers = publisher.sse.channel('numbers', { history: { maxEvents: 100_000 } })
    const first = await nodeOf(t, redis, port)
    const page = await engine.open(t, `${await toyProxy(t, port, keepsAll)}/`)
    await page.evaluate(async () => {
      const [client, poll] = ['/client.js', '/poll.js']
      const { connect } = await import(client) as typeof import('../../lib/client.ts')
      const { withPolling } = await import(poll) as typeof import('../../lib/client/poll.ts')
      const seen = window.polled = { numbers: [] as number[], states: [] as string[], failures: 0 }
      const stream = connect('/numbers', {
        fetch: withPolling({ after: 1_000, wait: 1 }),
        retryDelay: 50,
        onStateChange: state => { seen.states.push(state) },
        onError: () => { seen.failures++ }
      })
      stream.on('message', ({ data }) => { seen.numbers.push(Number(data)) })
    })
    await page.until('the first answer', () => window.polled.states.includes('live'))
    // The answer had no event, and ends with the position.
    await delay(500)
    let newest = 0
    const publish = async (count: number): Promise<void> => {
      for (const last = newest + count; newest < last;) {
        await numbers.publish({ data: ++newest })
        if (newest % 5 === 0) await delay(30)
      }
    }
    const reaches = (number: number): Promise<void> =>
      page.until(`number ${number}`, number => window.polled.numbers.at(-1) === number, number)
    await publish(50)
    await reaches(50)
    const publishing = publish(100)
    await first.app.close()
    await delay(300)
    const second = await nodeOf(t, redis, port)
    await publishing
    await reaches(150)
    await publish(50)
    await reaches(200)
    const { numbers: received } = await page.evaluate(() => window.polled)
    t.strictSame(received, Array.from({ length: 200 }, (_, index) => index + 1))
    await page.close()
    t.ok(second.numbers.subscribers <= 1)
  })

  t.test('fetch reads JSON lines, and connect reads the same events', { skip: absent(REDIS) }, async t => {
    const port = await freePort()
    await nodeOf(t, await RedisServer.start(t), port)
    const page = await engine.open(t, `http://127.0.0.1:${port}/`)
    const received = await page.evaluate(async () => {
      const accept = { accept: 'application/x-ndjson' }
      const response = await fetch('/lines', { headers: accept })
      const lines = (await response.text()).trim().split('\n').map(line => JSON.parse(line) as unknown)
      const path = '/client.js'
      const { connect } = await import(path) as typeof import('../../lib/client.ts')
      const events: unknown[] = []
      const stream = connect('/lines', { headers: accept, reconnect: false })
      for await (const { event, data } of stream) events.push({ event, data })
      return { type: response.headers.get('content-type'), lines, events }
    })
    t.strictSame(received, {
      type: 'application/x-ndjson',
      lines: [{ data: { n: 1 } }, { event: 'é', data: 'two' }],
      events: [{ event: 'message', data: '{"n":1}' }, { event: 'é', data: 'two' }]
    })
  })
})
