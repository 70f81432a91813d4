import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import sse from '../../lib/index.ts'

t.test('a route is counted by its declared method and path, for any URL', async t => {
  const app = Fastify()
  await app.register(sse)
  app.get('/jobs/:id', { schema: { sse: { done: Type.Integer() } } },
    (_request, reply) => reply.sse([{ event: 'done', data: 1 }]))
  app.post('/jobs', (_request, reply) => reply.sse([]))
  app.setNotFoundHandler((_request, reply) => reply.sse([{ data: 'nothing here' }]))
  for (const url of ['/jobs/1', '/jobs/2?verbose']) await app.inject(url)
  await app.inject({ method: 'HEAD', url: '/jobs/3' })
  await app.inject({ method: 'POST', url: '/jobs' })
  for (const url of ['/a', '/b']) await app.inject(url)
  const { routes } = app.sse.stats()
  t.strictSame(Object.entries(routes).map(([name, { opened, events }]) => [name, opened, events]), [['GET /jobs/:id', 2,
    2], ['POST /jobs', 1, 0], ['GET *', 2, 2]])
})

t.test('each registration counts its own routes', async t => {
  const app = Fastify()
  for (const prefix of ['/one', '/two']) {
    await app.register(async scope => {
      await scope.register(sse)
      scope.get('/', (_request, reply) => reply.sse([{ data: prefix }]))
      scope.get('/stats', async () => Object.keys(scope.sse.stats().routes))
    }, { prefix })
  }
  await app.inject('/one')
  t.same((await app.inject('/one/stats')).json(), ['GET /one'])
  t.same((await app.inject('/two/stats')).json(), [])
})

t.test('C3: a map that was declared before the plugin is compiled at its first use, and fails there', async t => {
  const app = Fastify()
  app.get('/good', { schema: { sse: { tick: Type.Integer() } } as object },
    (_request, reply) => reply.sse([{ event: 'tick', data: 'no' }] as never))
  app.get('/bad', { schema: { sse: { tick: 5 } } as object }, (_request, reply) => reply.sse([]))
  await app.register(sse)
  for (let n = 0; n < 2; n++) {
    t.match((await app.inject('/good')).json(), { code: 'FST_SSE_DATA' })
    t.match((await app.inject('/bad')).json(), { statusCode: 500, code: /FST_SSE_(SCHEMA|MAP)/ })
  }
})
