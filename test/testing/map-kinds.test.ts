import Fastify from 'fastify'
import t from 'tap'
import { validate } from '../../lib/client/validate/json-schema.ts'
import sse from '../../lib/index.ts'
import { injectStream } from '../../lib/testing/inject-stream.ts'
import { MAPS, type KindMap } from '../setup/map-kinds.ts'

const mixed = Object.values(MAPS)
const MIXED: KindMap = { note: mixed[1]!.note, level: mixed[3]!.level, order: mixed[5]!.order }

for (const [kind, events] of Object.entries({ ...MAPS, 'a mixed map': MIXED })) {
  t.test(`C1, C4: ${kind}: the test kit reads a channel and resumes it`, async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(sse)
    const channel = app.sse.channel('orders', { events })
    app.get('/orders', { schema: { sse: events } }, (_request, reply) => reply.sse(channel))

    const stream = await injectStream(app, { url: '/orders', events, validate })
    await channel.publish({ event: 'note', data: '5' })
    await channel.publish({ event: 'order', data: { id: 1, lines: ['a'], secret: true } })
    await t.rejects(channel.publish({ event: 'order', data: { id: 1, lines: [5] } }), { code: 'FST_SSE_DATA' })
    await t.rejects(channel.publish({ event: 'level', data: 'none' }), { code: 'FST_SSE_DATA' })
    t.match(await stream.take(2), [{ event: 'note', data: '5' }, { event: 'order', data: { id: 1, lines: ['a'] } }])
    await stream.disconnect()

    await channel.publish({ event: 'level', data: 'high' })
    const again = await stream.reconnect()
    t.match(await again.take(1), [{ event: 'level', data: 'high' }])
    t.notMatch(stream.text + again.text, /secret/)
  })

  t.test(`C1: ${kind}: the test kit reports a wrong value of a route without a map`, async t => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(sse)
    app.get('/orders', (_request, reply) => reply.sse([{ event: 'order', data: { id: 'x', lines: [] } }]))
    const stream = await injectStream(app, { url: '/orders', events, validate })
    await t.rejects(stream.take(1), { message: /Event 'order' does not match its schema: .* at '\/id'/ })
    t.match(await stream.closed, { reason: 'error', error: { code: 'FST_SSE_INVALID_EVENT', data: { id: 'x' } } })
  })
}
