import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import { connect } from '../../lib/client.ts'
import sse from '../../lib/index.ts'
import { injectFetch } from '../../lib/testing/inject-fetch.ts'

t.test('a client without a port', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  const events = { hello: Type.Object({ to: Type.String() }) }
  app.get('/', { schema: { sse: events } }, (request, reply) => reply.sse([{ event: 'hello', data: { to: String(request.headers.cookie) } }]))
  const fetch = injectFetch(app, { cookies: { name: 'you' } })
  for (const stream of [connect('/', { events, fetch, reconnect: false }), connect('/', { events, fetch, reconnect: false })]) {
    const came = []
    for await (const event of stream) came.push(event)
    t.strictSame(came, [{ event: 'hello', data: { to: 'name=you' }, id: '' }], 'of any number of requests')
  }
  t.equal((await injectFetch(app)('/none')).status, 404)
})
