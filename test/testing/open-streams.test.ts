import Fastify from 'fastify'
import t from 'tap'
import built from 'fastify-typed-sse'
import sse from '../../lib/index.ts'
import { injectStream } from '../../lib/testing/inject-stream.ts'
import { openStreams } from '../../lib/testing/open-streams.ts'

const silent = (): Promise<never> => new Promise(() => {})

t.test('openStreams() lists the open streams of all scopes', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  for (const prefix of ['/a', '/b']) {
    app.register(async scope => {
      await scope.register(sse)
      scope.get('/c', (_request, reply) => reply.sse(silent))
    }, { prefix })
  }
  await app.ready()
  t.strictSame(openStreams(app), [])
  const streams = await Promise.all(['/a/c?x=1', '/b/c', '/b/c'].map(url => injectStream(app, url)))
  t.strictSame(openStreams(app), ['GET /a/c?x=1', 'GET /b/c', 'GET /b/c'])
  await streams[1]!.disconnect()
  t.strictSame(openStreams(app), ['GET /a/c?x=1', 'GET /b/c'])
  await app.close()
  t.strictSame(openStreams(app), [])
})

t.test('openStreams() lists the streams of another copy of this package', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(built)
  app.get('/', (_request, reply) => reply.sse(silent))
  await injectStream(app, '/')
  t.strictSame(openStreams(app), ['GET /'])
})

t.test('openStreams() rejects an app without the plugin', async t => {
  t.throws(() => openStreams(Fastify()), {
    code: 'FST_SSE_OPTION',
    message: "Option 'app' must be a Fastify instance that is ready and has the plugin, got one without it"
  })
})
