import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import { typed } from '../../lib/contract/typed.ts'
import sse from '../../lib/server/plugin.ts'

const events = {
  message: Type.String(),
  paid: Type.Object({ id: Type.Integer() }),
  'order.created': Type.Object({ id: Type.Integer() }),
  toString: Type.String(),
  constructor: Type.String()
}
const event = typed(events)

t.test('C1: a typed event is an object with its name and its data', async t => {
  t.strictSame(event.paid({ id: 1 }), { event: 'paid', data: { id: 1 } })
  t.strictSame(event.message('text'), { event: 'message', data: 'text' })
  t.strictSame(event['order.created']({ id: 1 }), { event: 'order.created', data: { id: 1 } })
})

t.test('R1: a position becomes fields of the event, and replaces neither its name nor its data', async t => {
  t.strictSame(event.paid({ id: 1 }, { id: 7, retry: 5 }), { id: 7, retry: 5, event: 'paid', data: { id: 1 } })
  t.strictSame(event.paid({ id: 1 }, {}), { event: 'paid', data: { id: 1 } })
  const forged = { event: 'other', data: 'other' } as object
  t.strictSame(event.paid({ id: 1 }, forged), { event: 'paid', data: { id: 1 } })
})

t.test('a name of Object.prototype is a name like any other, and only a declared name has a function', async t => {
  t.strictSame(event.toString('text'), { event: 'toString', data: 'text' })
  t.strictSame(event.constructor('text'), { event: 'constructor', data: 'text' })
  t.strictSame(Object.keys(event), Object.keys(events))
  t.equal((event as unknown as Record<string, unknown>).valueOf, undefined)
  const prototype = typed(JSON.parse('{ "__proto__": { "type": "string" } }') as typeof events)
  t.strictSame(Object.keys(prototype), ['__proto__'])
})

t.test('a value that is no map has a code', async t => {
  for (const [value, text] of [[undefined, 'undefined'], [null, 'null'], [[Type.String()], 'an array'], ['text', 'string'],
    [() => {}, 'a function']] as const) {
    t.throws(() => typed(value as unknown as typeof events), { code: 'FST_SSE_MAP', message: new RegExp(`^typed\\(\\): .*${text}`) })
  }
})

t.test('a position that is no object has a code', async t => {
  for (const position of [7, '7', null, ['7']]) {
    t.throws(() => event.paid({ id: 1 }, position as object), {
      code: 'FST_SSE_OPTION', message: /'position' must be an object \{ id, retry \}/
    })
  }
})

t.test('C2: a route and a channel check typed events as all others', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse(function * () {
    yield event.paid({ id: 1 }, { id: 'a' })
    yield event.message('text')
    yield event.paid({ id: 'one' } as unknown as { id: number })
  }, { errorEvent: null }))
  app.get('/field', { schema: { sse: events } }, (_request, reply) => reply.sse([event.paid({ id: 1 }, { key: 7 } as object)]))
  t.equal((await app.inject('/')).body, 'event: paid\nid: a\ndata: {"id":1}\n\ndata: text\n\n')
  t.equal((await app.inject('/field')).json().code, 'FST_SSE_EVENT')
  const channel = app.sse.channel('orders', { events })
  t.match(await channel.publish(event.paid({ id: 1 })), /-1$/)
  await t.rejects(channel.publish(event.paid({ id: 'one' } as unknown as { id: number })), { code: 'FST_SSE_DATA' })
  await t.rejects(channel.publish(event.paid({ id: 1 }, { id: 7 })), { code: 'FST_SSE_PUBLISH' })
})
