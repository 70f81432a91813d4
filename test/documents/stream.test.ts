import { injectStream, openStreams } from '../../lib/testing.ts'
import { bodyOf, DocumentPrograms } from '../setup/document-programs.ts'

const document = new DocumentPrograms('lib/stream/README.md')

document.run({
  Sources: [async (t, app) => {
    t.equal(await bodyOf(app, '/array'), 'data: 1\n\ndata: 2\n\n')
    t.equal(await bodyOf(app, '/node'), 'data: 1\n\ndata: 2\n\n')
    t.equal(await bodyOf(app, '/web'), 'data: 1\n\n')
    t.equal(await bodyOf(app, '/function', { 'last-event-id': '2' }), 'id: 3\ndata: 3\n\n')
  }, async (t, app) => {
    const chunk = (delta: string): string =>
      `data: {"id":"chatcmpl-1","object":"chunk","choices":[{"delta":"${delta}"}]}\n\n`
    t.equal(await bodyOf(app, '/answer'), chunk('Hel') + chunk('lo'))
    t.match(await bodyOf(app, '/file'), /^event: part\ndata: # fastify-typed-sse\n/)
  }, async (t, app) => {
    const { present } = await document.load<{ present: Set<string> }>("'/room'")
    const [first, second] = [await injectStream(app, '/room'), await injectStream(app, '/room')]
    await app.inject({ method: 'HEAD', url: '/room' })
    t.equal(present.size, 2, 'a HEAD request opens no stream')
    t.ok(present.has((await first.take(1))[0]!.data), 'the first client receives that the second one joined')
    await second.disconnect()
    t.equal(present.size, 1)
    await first.disconnect()
    t.equal(present.size, 0)
  }, async (t, app) => {
    const ticks = (from: number) =>
      [1, 2, 3].slice(from).map(n => `event: tick\nid: ${n}\ndata: {"n":${n}}\n\n`).join('')
    t.equal(await bodyOf(app, '/relay'), ticks(0))
    t.equal(await bodyOf(app, '/relay', { 'last-event-id': '2' }), ticks(2))
  }],
  'When the client disconnects': [async (t, app) => {
    const stream = await injectStream(app, { method: 'POST', url: '/watch', payload: { any: 'body' } })
    t.match(await stream.take(1), [{ data: /^\{"at":"\d{4}-/ }])
    await stream.disconnect()
    t.strictSame(openStreams(app), [])
  }],
  'A background producer': [async (t, app) => {
    const progress = [0, 25, 50, 75, 100].map(percent => `event: progress\ndata: {"percent":${percent}}\n\n`).join('')
    t.equal(await bodyOf(app, '/job'), progress + 'event: done\ndata: null\n\n')
  }],
  Errors: [
    async (t, app) => {
      const response = await app.inject('/report')
      t.equal(response.statusCode, 404)
      t.match(response.json(), { message: 'No such report' })
    },
    async (t, app) => {
      t.equal(await bodyOf(app, '/ticks'), 'data: tick\n\nevent: failed\ndata: {"requestId":"req-1"}\n\n')
      app = (await import('fastify')).default()
      await app.register((await import('../../lib/index.ts')).default)
      app.get('/', (_request, reply) => reply.sse(async function * () {
        yield { data: '' }
        throw new Error('secret')
      }))
      t.equal(await bodyOf(app, '/'), 'data: \n\n' + document.block('Errors', 'text'))
    }
  ],
  'Finite streams': [async (t, app) => {
    t.equal(await bodyOf(app, '/countdown'),
      'data: 3\n\ndata: 2\n\ndata: 1\n\nevent: sse.position\nid: sse.end\ndata: \n\n')
    t.equal((await app.inject({ url: '/countdown', headers: { 'last-event-id': 'sse.end' } })).statusCode, 204)
  }],
  'Protocols of their own': [async (t, app) => {
    t.equal(await bodyOf(app, '/completion'), 'data: {"text":"Hello"}\n\ndata: [DONE]\n\n')
  }],
  'Coming back': [async (t, app) => {
    t.equal(await bodyOf(app, '/numbers', { 'last-event-id': '7' }),
      'retry: 2000\n\nid: 8\ndata: 8\n\nid: 9\ndata: 9\n\nid: 10\ndata: 10\n\n')
  }]
})
