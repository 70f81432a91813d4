import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import { injectStream, openStreams } from '../../lib/testing.ts'
import { assertType, type Equal } from './equal.ts'

// The streams of tests. Compiled, never run.

const events = { count: Type.Object({ n: Type.Integer() }), message: Type.String() }
const app = Fastify().withTypeProvider<TypeBoxTypeProvider>()

const stream = await injectStream(app, {
  url: '/',
  events,
  query: { a: 'b' },
  cookies: { c: 'd' },
  payload: { any: 1 },
  timeout: 5
})
for (const event of await stream.take(1)) {
  if (event.event === 'count') assertType<Equal<typeof event.data, { n: number }>>()
  if (event.event === 'message') assertType<Equal<typeof event.data, string>>()
  // @ts-expect-error no such event
  if (event.event === 'counted') await stream.disconnect()
}
await stream.takeUntil(event => event.event === 'count' && event.data.n === 7)
assertType<Equal<Awaited<ReturnType<typeof stream.reconnect>>, typeof stream>>()
assertType<Equal<typeof stream.response.statusCode, number>>()

const raw = await injectStream(app, '/')
const texts: Array<{ data: string }> = await raw.takeAll()
await raw.takeUntil(event => event.data === texts[0]!.data)

// @ts-expect-error an option of inject, which a stream does not have
await injectStream(app, { url: '/', payloadAsStream: false })

const secure = Fastify({ http2: true, https: {} })
await injectStream(secure, '/')
assertType<Equal<ReturnType<typeof openStreams>, string[]>>()
openStreams(secure)
