import { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyServerOptions } from 'fastify'
import sse, { EventQueue } from 'fastify-typed-sse'
import t, { type Test } from 'tap'
import seed, { generated, generatedOnce, produce, queued, type events } from '../../example/seed/server.ts'

const FRAMES = Array.from({ length: 10 },
  (_, i) => `data: {"status":200,"resMsg":"server sent event message: ${i + 1}"}\n\n`).join('')

const withoutComments = (body: string): string => body.replace(/^:.*\n\n/gm, '')

async function start (t: Test, plugin = seed, options: FastifyServerOptions = {}): Promise<string> {
  // fetch opens a spare connection after an abort; close() would wait for it.
  const app = Fastify({ forceCloseConnections: true, ...options })
  t.teardown(() => app.close())
  await app.register(sse)
  await app.register(plugin)
  return app.listen({ host: '127.0.0.1', port: 0 })
}

t.test('the body of a seed stream is its ten frames, comments and nothing else', { jobs: 3 }, async t => {
  const rows = [
    { path: '/sse', plugin: generated, wire: FRAMES },
    { path: '/sse/queue', plugin: queued, wire: FRAMES },
    // The end mark: an id without data, for which a client dispatches no event.
    { path: '/sse/once', plugin: generatedOnce, wire: `${FRAMES}event: sse.position\nid: sse.end\ndata: \n\n` }
  ]
  for (const { path, plugin, wire } of rows) {
    t.test(path, async t => {
      const url = await start(t, plugin)
      const startedAt = performance.now()
      const response = await fetch(url + path)
      const body = await response.text()
      t.equal(response.status, 200)
      t.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8')
      t.equal(withoutComments(body), wire)
      // Nine delays of 300 ms. A timer may fire a millisecond early.
      t.ok(performance.now() - startedAt >= 2_650, 'the messages did not arrive at once')
    })
  }
})

t.test('/sse/once answers 204 to the reconnect of a client that received all ten', async t => {
  const url = await start(t)
  const response = await fetch(`${url}/sse/once`, { headers: { 'last-event-id': 'sse.end' } })
  t.equal(response.status, 204)
  t.equal(await response.text(), '')
})

t.test('the producer of /sse/queue stops when the client disconnects', async t => {
  let onStopped: (pushed: number) => void
  const stopped = new Promise<number>(resolve => { onStopped = resolve })
  const stream = new Writable({
    write (line, _encoding, done) {
      const { msg, pushed } = JSON.parse(String(line)) as { msg: string, pushed?: number }
      if (msg === 'producer stopped') onStopped(pushed!)
      done()
    }
  })
  const url = await start(t, queued, { logger: { level: 'info', stream } })
  const controller = new AbortController()
  const response = await fetch(`${url}/sse/queue`, { signal: controller.signal })
  await response.body!.getReader().read()
  controller.abort()
  const pushed = await stopped
  t.ok(pushed >= 1 && pushed < 10, `it pushed over ${pushed} of ten messages`)
})

t.test('the producer waits until its message is read', async t => {
  const queue = new EventQueue<typeof events>()
  const produced = produce(queue)
  // Enough time for two more messages, if it did not wait.
  await sleep(700)
  t.equal(queue.size, 1)
  const reader = queue[Symbol.asyncIterator]()
  t.strictSame((await reader.next()).value, { data: { status: 200, resMsg: 'server sent event message: 1' } })
  t.strictSame((await reader.next()).value, { data: { status: 200, resMsg: 'server sent event message: 2' } })
  await reader.return!()
  t.equal(queue.signal.aborted, true)
  t.equal(await produced, 2)
})

t.test('the seed page is served', async t => {
  const url = await start(t)
  const response = await fetch(`${url}/seed`)
  t.equal(response.headers.get('content-type'), 'text/html; charset=utf-8')
  t.match(await response.text(), /new EventSource\(/)
})
