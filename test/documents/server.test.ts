import { trace } from '@opentelemetry/api'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { injectStream, openStreams } from '../../lib/testing.ts'
import { bodyOf, DocumentPrograms } from '../setup/document-programs.ts'

new DocumentPrograms('lib/server/README.md').run({
  Limits: [async (t, app) => {
    const clients = []
    for (let n = 0; n < 6; n++) clients.push(await injectStream(app, { url: '/feed', headers: { 'x-user': 'ann' } }))
    t.match(await app.inject({ url: '/feed', headers: { 'x-user': 'ann' } }), { statusCode: 429 })
    for (const client of clients) await client.disconnect()
    t.strictSame(openStreams(app), [])
  }],
  Deploying: [async (t, app) => {
    t.equal(await bodyOf(app, '/answer'), ['this', 'takes', 'its', 'time'].map(word => `data: ${word}\n\n`).join(''))
  }],
  Permissions: [async (t, app) => {
    const client = await injectStream(app, { url: '/feed', headers: { 'x-user': 'ann' } })
    const { ended } = (await app.inject({ method: 'POST', url: '/logout', headers: { 'x-user': 'ann' } })).json<
      { ended: number }
    >()
    t.equal(ended, 1)
    t.match(await client.closed, { error: { data: { status: 403, detail: 'The stream was ended: you logged out' } } })
  }],
  'Seeing inside': [async (t, app) => {
    app.get('/', (_request, reply) => reply.sse([{ data: 1 }]))
    const lines: unknown[] = []
    const { log } = console
    console.log = (line: unknown) => { lines.push(line) }
    await bodyOf(app, '/')
    console.log = log
    t.match(lines, [/^GET \/ complete after \d+ ms$/])
  }],
  Metrics: [async (t, app) => {
    app.get('/two', (_request, reply) => reply.sse([{ data: 1 }, { data: 2 }]))
    for (const count of [1, 2]) {
      await bodyOf(app, '/two')
      const scraped = await bodyOf(app, '/metrics')
      t.match(scraped, `\nsse_streams_closed_total{route="GET /two",reason="complete"} ${count}\n`)
      t.match(scraped, '\nsse_streams_open{route="GET /two"} 0\n')
    }
  }],
  Tracing: [async (t, app) => {
    const exporter = new InMemorySpanExporter()
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }))
    t.teardown(() => trace.disable())
    app.get('/two', (_request, reply) => reply.sse([{ data: 1 }, { data: 2 }]))
    await bodyOf(app, '/two')
    t.match(exporter.getFinishedSpans(), [{
      name: 'stream GET /two',
      attributes: { 'sse.close.reason': 'complete', 'sse.events': 2, 'sse.bytes': 18 }
    }])
  }]
})
