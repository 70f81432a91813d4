import { once } from 'node:events'
import { connect } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import sse, { type Stats } from 'fastify-typed-sse'
import { Registry } from 'prom-client'
import t, { type Test } from 'tap'
import metrics from '../../example/metrics/server.ts'
import { listen } from '../setup/listen.ts'
import { open } from '../setup/raw.ts'

type Samples = Record<string, number>

async function start (t: Test): Promise<{ app: FastifyInstance, port: number }> {
  const app = Fastify()
  await app.register(sse, {
    limits: { maxStreamsPerKey: 2, keyGenerator: ({ headers }) => headers['x-user'] as string }
  })
  await app.register(metrics, {})
  const channel = app.sse.channel('news')
  app.get('/news', (_request, reply) => reply.sse(channel))
  app.get('/three', (_request, reply) => reply.sse([{ data: 1 }, { data: 2 }, { data: 3 }]))
  return { app, port: await listen(t, app) }
}

/** Parses the exposition format line by line. Returns each sample by its name and labels. */
async function scrape (t: Test, port: number): Promise<{ samples: Samples, types: Record<string, string> }> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`)
  t.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
  const samples: Samples = {}
  const types: Record<string, string> = {}
  for (const line of (await response.text()).split('\n').filter(line => line !== '')) {
    const [, typed, type] = /^# TYPE (\w+) (gauge|counter|histogram)$/.exec(line) ?? []
    const [, name, value] = /^([a-z_]+(?:\{(?:[a-z]+="[^"\\]*",?)+\})?) ([\d.e+-]+)$/.exec(line) ?? []
    if (typed !== undefined) types[typed] = type!
    else if (name !== undefined) samples[name] = Number(value)
    else t.match(line, /^# HELP \w+ .+\.$/)
  }
  return { samples, types }
}

t.test('a scrape returns the counts, and a second scrape returns the same', async t => {
  const { app, port } = await start(t)
  const closed = async (reason: keyof Stats['streams']['closed'], count: number): Promise<void> => {
    while (app.sse.stats().streams.closed[reason] < count) await new Promise(setImmediate)
  }
  const headers = { 'x-user': 'one', accept: '*/*' }
  const stays = await open(port, { path: '/news', headers })
  await stays.until(': live')
  const leaves = await open(port, { path: '/news', headers })
  await leaves.until(': live')
  const refused = await open(port, { path: '/news', headers })
  await refused.until('HTTP/1.1 429')
  await (await open(port, { path: '/three' })).until('data: 3\n\n')
  await closed('complete', 1)
  const back = await open(port, { path: '/news', headers: { 'last-event-id': 'elsewhere-7' } })
  await back.until('sse.reset')
  back.socket.destroy()
  await closed('client', 1)
  for (const data of ['one', 'two']) await app.sse.channel('news').publish({ data })
  await Promise.all([stays, leaves].map(client => client.until('two\n\n')))
  leaves.socket.destroy()
  await closed('client', 2)
  await app.sse.channel('news').publish({ data: 'three' })
  await stays.until('three\n\n')

  const { samples, types } = await scrape(t, port)
  const stats = app.sse.stats()
  t.match(samples, {
    'sse_streams_open{route="GET /news"}': 1,
    'sse_streams_open{route="GET /three"}': 0,
    'sse_streams_opened_total{route="GET /news"}': 3,
    'sse_streams_opened_total{route="GET /three"}': 1,
    'sse_streams_closed_total{route="GET /news",reason="client"}': 2,
    'sse_streams_closed_total{route="GET /news",reason="stalled"}': 0,
    'sse_streams_closed_total{route="GET /three",reason="complete"}': 1,
    'sse_events_total{route="GET /three"}': 3,
    'sse_bytes_total{route="GET /three"}': 3 * 'data: 1\n\n'.length,
    // Two, three and the reset event.
    'sse_events_total{route="GET /news"}': 3 + 2 + 1,
    'sse_bytes_total{route="GET /news"}': stats.routes['GET /news']!.bytes,
    'sse_rejected_total{reason="maxStreamsPerKey"}': 1,
    'sse_rejected_total{reason="maxStreams"}': 0,
    sse_streams_stalled: 0,
    sse_channels: 1,
    sse_subscribers: 1,
    sse_subscribers_lagging: 0,
    sse_published_total: 3,
    sse_dropped_total: 0,
    sse_merged_total: 0,
    sse_gaps_total: 0,
    sse_resets_total: 1
  })
  const received = stays.frames().join('\n\n') + '\n\n'
  t.ok(received.length <= samples['sse_bytes_total{route="GET /news"}']!)
  t.strictSame((await scrape(t, port)).samples, samples)

  t.test('the names of counters end in total, and no other names do', async t => {
    for (const [name, type] of Object.entries(types)) t.equal(name.endsWith('_total'), type === 'counter', name)
  })

  t.test('latency is a histogram in seconds: cumulative, to infinity, with sum and count', async t => {
    const { latency } = stats
    t.equal(types['sse_delivery_latency_seconds'], 'histogram')
    const buckets = Object.entries(samples).flatMap(([name, count]) => {
      const [, le] = /^sse_delivery_latency_seconds_bucket\{le="(.+)"\}$/.exec(name) ?? []
      return le === undefined ? [] : [{ le: le === '+Inf' ? Infinity : Number(le) * 1_000, count }]
    })
    t.strictSame(buckets.map(({ le, count }) => ({ le: Number(le.toPrecision(9)), count })), latency.buckets)
    t.equal(samples.sse_delivery_latency_seconds_count, latency.count)
    t.equal(samples.sse_delivery_latency_seconds_sum, latency.sum / 1_000)
    t.equal(buckets.at(-1)!.count, latency.count)
    t.ok(latency.count >= 2, 'the deliveries of two turns')
  })
})

t.test('open streams are counted while they send, and not again when they close', async t => {
  const { app, port } = await start(t)
  const client = await open(port, { path: '/news' })
  await client.until(': live')
  await app.sse.channel('news').publish({ data: 1 })
  await client.until('data: 1\n\n')
  const during = (await scrape(t, port)).samples
  client.socket.destroy()
  while (app.sse.stats().streams.open > 0) await new Promise(setImmediate)
  const after = (await scrape(t, port)).samples
  for (const name of ['sse_events_total', 'sse_bytes_total']) {
    t.equal(after[`${name}{route="GET /news"}`], during[`${name}{route="GET /news"}`], name)
  }
  t.equal(during['sse_events_total{route="GET /news"}'], 1)
})

t.test('the metrics share a registry with other metrics', async t => {
  const registry = new Registry()
  registry.setDefaultLabels({ node: 'a' })
  const app = Fastify()
  await app.register(sse)
  await app.register(metrics, { registry })
  const port = await listen(t, app)
  const socket = connect(port, '127.0.0.1')
  socket.write('GET /metrics HTTP/1.0\r\n\r\n')
  let body = ''
  socket.on('data', text => { body += String(text) })
  await once(socket, 'end')
  t.match(body, '\nsse_published_total{node="a"} 0\n')
  t.match(body, '\nsse_delivery_latency_seconds_bucket{le="+Inf",node="a"} 0\n')
  t.strictSame((await registry.getMetricsAsJSON()).map(({ name }) => name).filter(name => !name.startsWith('sse_')), [])
})
