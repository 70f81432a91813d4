import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse from '../../lib/index.ts'
import { Sampler } from '../../lib/inspector/sampler.ts'
import { reports } from '../../lib/inspector/report.ts'
import { Dashboard } from '../../lib/inspector/dashboard.ts'
import { injectStream, type InjectedStream } from '../../lib/testing.ts'
import type { ClientEventOf } from '../../lib/client/encoding.ts'

interface Timer { fire: () => void, period: number, keepsProcess: boolean }

/** The timers that are running, and the seconds in the test's own hand. */
function holdTimers (t: Test): Set<Timer> {
  const running = new Set<Timer>()
  const set = (fire: () => void, period: number) => {
    const timer = { fire, period, keepsProcess: true, unref () { timer.keepsProcess = false; return timer } }
    running.add(timer)
    return timer
  }
  const { setInterval, clearInterval } = globalThis
  Object.assign(globalThis, { setInterval: set, clearInterval: (timer: Timer) => { running.delete(timer) } })
  t.teardown(() => Object.assign(globalThis, { setInterval, clearInterval }))
  return running
}

type Client = InjectedStream<ClientEventOf<typeof reports>>

/** An app whose watchers watch itself, and how often it was looked at. */
async function make (t: Test): Promise<{ app: FastifyInstance, watch: Dashboard, looks: () => number, watcher: (filter: string) => Promise<Client> }> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse, { heartbeatInterval: 0, stallTimeout: 0 })
  const census = new Sampler(app.sse, () => 0)
  let looks = 0
  const watch = new Dashboard({
    sample: () => {
      looks++
      return census.sample()
    }
  }, app.sse)
  app.get<{ Querystring: { filter: string } }>('/watch', { schema: { sse: reports } }, (request, reply) => reply.sse(watch.view(request.query.filter)))
  const watcher = (filter: string): Promise<Client> => injectStream(app, { url: `/watch?filter=${filter}`, events: { report: 'json' as const } }) as Promise<Client>
  return { app, watch, looks: () => looks, watcher }
}

t.test('all who watch share one look a second, and nobody looks when nobody watches', async t => {
  const timers = holdTimers(t)
  const { app, looks, watcher } = await make(t)
  await app.ready()
  const before = timers.size
  t.equal(looks(), 0)
  const watchers = [await watcher(''), await watcher(''), await watcher('queue')]
  for (const client of watchers) t.match(await client.take(1), [{ event: 'report', data: { whole: true } }])
  t.equal(looks(), 1)
  // The last: that of the streams was there before.
  const beat = [...timers].at(-1)
  t.equal(beat?.period, 1_000)
  t.equal(beat?.keepsProcess, false, 'it keeps no process alive')

  beat!.fire()
  for (const client of watchers) t.match(await client.take(1), [{ event: 'report', data: { whole: false } }])
  t.equal(looks(), 2)
  t.match(await watcher('').then(async client => {
    const events = await client.take(1)
    await client.disconnect()
    return events
  }), [{ data: { whole: true } }], 'who comes later is told everything')
  t.equal(looks(), 2, 'of the last look')

  await Promise.all(watchers.slice(1).map(client => client.disconnect()))
  beat!.fire()
  t.match(await watchers[0]!.take(1), [{ data: { whole: false } }])
  await watchers[0]!.disconnect()
  beat!.fire()
  t.equal(looks(), 3, 'nobody was there')
  t.notOk(timers.has(beat!))
  // What is left is the timer by which idle channels leave memory.
  t.ok(timers.size <= before + 1)

  const again = await watcher('')
  t.match(await again.take(1), [{ data: { whole: true } }])
  t.equal(looks(), 4)
  await again.disconnect()
})

t.test('through a filter comes what passes it', async t => {
  const { watcher, watch } = await make(t)
  const [all, none] = [await watcher('WATCH'), await watcher('elsewhere')]
  t.match(await all.take(1), [{ data: { streams: { rows: [{ route: 'GET /watch' }] } } }])
  t.match(await none.take(1), [{ data: { streams: { rows: [], matching: 0 } } }])
  await Promise.all([all.disconnect(), none.disconnect()])
  watch.stop()
})
