import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import sse, { memoryLog, type EventLogFactory } from '../../lib/index.ts'

const events = { order: Type.Object({ id: Type.Integer() }) }

/** Starts an app with a channel, and collects the diagnostics of its publishes. */
async function start (t: Test, eventLog?: EventLogFactory) {
  const app = Fastify()
  await app.register(sse, { eventLog })
  t.teardown(() => app.close())
  const published: unknown[] = []
  const onPublish = (message: unknown): void => { published.push(message) }
  subscribe('fastify-typed-sse:publish', onPublish)
  t.teardown(() => { unsubscribe('fastify-typed-sse:publish', onPublish) })
  return { app, orders: app.sse.channel('orders', { events, start: 'earliest' }), published }
}

t.test('R2: an event with a key is published once, and counted once', async t => {
  const { app, orders, published } = await start(t)
  const ids = await Promise.all([1, 2, 3].map(async id => orders.publish({ event: 'order', data: { id } }, { key: 'a' })))
  t.equal(new Set(ids).size, 1)
  const other = await orders.publish({ event: 'order', data: { id: 4 } }, { key: 'b' })
  t.equal(app.sse.stats().published, 2)
  t.strictSame(published, [ids[0], other].map(id => ({ channel: 'orders', event: 'order', id })))
  await orders.end()
  const received: unknown[] = []
  for await (const { event, data, id } of orders.subscribe()) received.push([event, data, id])
  t.strictSame(received, [['order', { id: 1 }, ids[0]], ['order', { id: 4 }, other]])
  t.equal(await orders.publish({ event: 'order', data: { id: 5 } }, { key: 'a' }), ids[0])
  await t.rejects(orders.publish({ event: 'order', data: { id: 5 } }, { key: 'c' }), { code: 'FST_SSE_CHANNEL_ENDED' })
})

t.test('C2: an invalid event or option is rejected, and keeps no key', async t => {
  const { orders, published } = await start(t)
  const invalid = { event: 'order', data: { id: 'x' } } as unknown as { event: 'order', data: { id: number } }
  await t.rejects(orders.publish(invalid, { key: 'a' }), { code: 'FST_SSE_DATA' })
  await t.rejects(orders.publish({ event: 'order', data: { id: 1 } }, { key: '' }), { code: 'FST_SSE_OPTION', message: /key/ })
  const options = { key: 'a', id: 1 }
  await t.rejects(orders.publish({ event: 'order', data: { id: 1 } }, options), { code: 'FST_SSE_OPTION' })
  t.strictSame(published, [])
  t.match(await orders.publish({ event: 'order', data: { id: 1 } }, { key: 'a' }), /-1$/)
})

t.test('R2: an event in a transaction has no id, and this process does not count it', async t => {
  const open = memoryLog()
  const pending: Array<() => unknown> = []
  const { app, orders, published } = await start(t, (name, history) => {
    const log = open(name, history)
    return Object.assign(log, {
      appendIn: async (_client: unknown, record: Parameters<typeof log.append>[0]) => {
        pending.push(() => log.append(record))
      }
    })
  })
  t.equal(await orders.publish({ event: 'order', data: { id: 1 } }, { client: {} }), undefined)
  t.equal((await orders.position()).newest, 0)
  for (const commit of pending) commit()
  t.equal((await orders.position()).newest, 1)
  t.equal(app.sse.stats().published, 0)
  t.strictSame(published, [])
})

t.test('a log that cannot append by key, or in a transaction, rejects', async t => {
  const open = memoryLog()
  const { orders } = await start(t, (name, history) => {
    return Object.assign(open(name, history), { appendOnce: undefined })
  })
  const order = { event: 'order' as const, data: { id: 1 } }
  await t.rejects(orders.publish(order, { key: 'a' }), { code: 'FST_SSE_LOG_METHOD', message: /appendOnce/ })
  await t.rejects(orders.publish(order, { client: {} }), { code: 'FST_SSE_LOG_METHOD', message: /appendIn/ })
  t.match(await orders.publish(order, {}), /-1$/)
  t.match(await orders.publish(order, undefined), /-2$/)
})
