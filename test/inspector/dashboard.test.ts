import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse from '../../lib/index.ts'
import { Sampler } from '../../lib/inspector/sampler.ts'
import { reports } from '../../lib/inspector/report.ts'
import { Dashboard } from '../../lib/inspector/dashboard.ts'
import { injectStream, type InjectedStream } from '../../lib/testing.ts'
import type { ClientEventOf } from '../../lib/client/encoding.ts'

interface Timer { fire: () => void, period: number, keepsProcess: boolean }

/** Replaces setInterval, and returns the running timers, which the test fires. */
function replaceTimers (t: Test): Set<Timer> {
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

/** An app whose viewers view the app itself. `samples` returns how many samples were taken. */
async function make (
  t: Test
): Promise<
  { app: FastifyInstance, dashboard: Dashboard, samples: () => number, open: (filter: string) => Promise<Client> }
> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse, { heartbeatInterval: 0, stallTimeout: 0 })
  const sampler = new Sampler(app.sse, () => 0)
  let samples = 0
  const dashboard = new Dashboard({
    sample: () => {
      samples++
      return sampler.sample()
    }
  }, app.sse)
  app.get<{ Querystring: { filter: string } }>('/view', { schema: { sse: reports } },
    (request, reply) => reply.sse(dashboard.view(request.query.filter)))
  const open = (filter: string): Promise<Client> =>
    injectStream(app, { url: `/view?filter=${filter}`, events: { report: 'json' as const } }) as Promise<Client>
  return { app, dashboard, samples: () => samples, open }
}

t.test('all viewers share one sample a second, and without a viewer there is no sample', async t => {
  const timers = replaceTimers(t)
  const { app, samples, open } = await make(t)
  await app.ready()
  const before = timers.size
  t.equal(samples(), 0)
  const viewers = [await open(''), await open(''), await open('queue')]
  for (const client of viewers) t.match(await client.take(1), [{ event: 'report', data: { full: true } }])
  t.equal(samples(), 1)
  // The last timer: the timer of the streams was started before.
  const timer = [...timers].at(-1)
  t.equal(timer?.period, 1_000)
  t.equal(timer?.keepsProcess, false, 'the timer keeps no process alive')

  timer!.fire()
  for (const client of viewers) t.match(await client.take(1), [{ event: 'report', data: { full: false } }])
  t.equal(samples(), 2)
  t.match(await open('').then(async client => {
    const events = await client.take(1)
    await client.disconnect()
    return events
  }), [{ data: { full: true } }], 'a later viewer gets a full report')
  t.equal(samples(), 2, 'of the last sample')

  await Promise.all(viewers.slice(1).map(client => client.disconnect()))
  timer!.fire()
  t.match(await viewers[0]!.take(1), [{ data: { full: false } }])
  await viewers[0]!.disconnect()
  timer!.fire()
  t.equal(samples(), 3, 'there was no viewer')
  t.notOk(timers.has(timer!))
  // The timer that evicts idle channels may remain.
  t.ok(timers.size <= before + 1)

  const again = await open('')
  t.match(await again.take(1), [{ data: { full: true } }])
  t.equal(samples(), 4)
  await again.disconnect()
})

t.test('a view contains the streams that match its filter', async t => {
  const { open, dashboard } = await make(t)
  const [all, none] = [await open('VIEW'), await open('elsewhere')]
  t.match(await all.take(1), [{ data: { streams: { rows: [{ route: 'GET /view' }] } } }])
  t.match(await none.take(1), [{ data: { streams: { rows: [], matching: 0 } } }])
  await Promise.all([all.disconnect(), none.disconnect()])
  dashboard.stop()
})
