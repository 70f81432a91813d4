import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { connect } from '../../lib/client/connect.ts'
import { validate } from '../../lib/client/validate.ts'
import sse, { type AnyEvent, type EventMap } from '../../lib/index.ts'
import inspector from '../../lib/inspector.ts'
import { injectStream } from '../../lib/testing.ts'
import { faultsOf, served, type Json } from '../setup/document.ts'
import { listen } from '../setup/listen.ts'
import { within } from '../setup/within.ts'

// Names of inherited object properties are ordinary names.

const NAMES = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf']
const byName = <T>(make: (name: string) => T): Record<string, T> =>
  Object.fromEntries(NAMES.map(name => [name, make(name)]))

t.test('R1: a channel may have the name of an inherited property', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  await app.register(inspector, { prefix: '/inspector', authorize: () => true })
  app.get<{ Params: { name: string } }>('/:name', (request, reply) => reply.sse(app.sse.channel(request.params.name)))
  await app.ready()
  for (const name of NAMES) t.equal(app.sse.find(name), undefined, `no channel ${name} without a call of channel()`)
  t.strictSame(app.sse.channels(), [])
  for (const name of NAMES) {
    const url = `/inspector/tail?channel=${name}`
    t.equal((await app.inject(url)).statusCode, 404)
    const channel = app.sse.channel(name)
    t.equal(app.sse.find(name), channel)
    const reading = channel.subscribe()[Symbol.asyncIterator]()
    const next = reading.next()
    const stream = await injectStream(app, `/${name}`)
    await channel.publish({ data: name })
    t.match((await within('the event', next)).value, { event: 'message', data: name })
    t.match(await within('the frame', stream.take(1)), [{ data: name }])
    const stats = app.sse.channels().find(channel => channel.name === name)
    t.match(stats, { newest: 1 })
    const tail = await injectStream(app, url)
    t.match((await within('the tail', tail.take(1)))[0]!.data, `"data":"${name}"`)
    await Promise.all([reading.return?.(), stream.disconnect(), tail.disconnect()])
  }
  const watcher = await injectStream(app, '/inspector/events')
  const report = (await within('the report', watcher.take(1)))[0]!.data
  for (const name of NAMES) t.match(report, `"id":"${name}"`)
  await watcher.disconnect()
  t.strictSame(app.sse.channels().map(({ name }) => name).sort(), [...NAMES].sort())
})

const maps: Array<[kind: string, map: EventMap, dataOf: (name: string) => unknown]> = [
  ['text', byName(() => Type.String()), name => name],
  ['JSON', byName(name => Type.Object({ of: Type.Literal(name) })), name => ({ of: name })],
  ['properties', byName(name => Type.Object({ [name]: Type.Integer() }, { additionalProperties: false })),
    name => Object.fromEntries([[name, 1]])]
]

for (const [kind, map, dataOf] of maps) {
  t.test(`W1, W5: an event may have the name of an inherited property, with ${kind} as data`, async t => {
    const app = Fastify()
    await app.register(sse)
    const events = NAMES.map(event => ({ event, data: dataOf(event) }))
    app.get('/', { schema: { sse: map } }, (_request, reply) => reply.sse(events as never, { finite: true }))
    app.get('/undeclared', { schema: { sse: { message: Type.String() } } }, (_request, reply) =>
      reply.sse([{ event: 'constructor', data: 'x' } as never]))
    app.get('/untyped', (_request, reply) => reply.sse(events as AnyEvent[], { finite: true }))
    const port = await listen(t, app)
    for (const path of ['', 'untyped']) {
      const stream = connect(`http://127.0.0.1:${port}/${path}`, { events: map, validate })
      const received: unknown[] = []
      const read = async (): Promise<void> => {
        for await (const { event, data } of stream) received.push({ event, data })
      }
      await within('the events', read())
      t.equal(JSON.stringify(received), JSON.stringify(events))
    }
    t.match((await app.inject('/undeclared')).json(), { code: 'FST_SSE_UNKNOWN_EVENT' })
    const others = connect(`http://127.0.0.1:${port}/`, { events: { message: Type.String() }, validate })
    const passed = async (): Promise<void> => {
      for await (const event of others) t.fail(`unexpected: ${String(event.event)}`)
    }
    await within('the end', passed())
  })
}

for (const version of ['3.2.0', '3.1.0', '3.0.3', undefined]) {
  t.test(`W6: such names are in a document of ${version === undefined ? 'Swagger 2' : `OpenAPI ${version}`}`, async t => {
    const routes = (app: FastifyInstance): void => {
      // Fastify itself rejects such an $id of addSchema.
      app.addSchema({
        $id: 'Shared',
        description: 'A shared one',
        type: 'object',
        properties: { n: { type: 'integer' } }
      })
      const own = Type.Object({ n: Type.Integer() }, { $id: 'toString' })
      const proto = Type.Object({ deep: Type.Integer() }, { $id: '__proto__' })
      const all = Type.Object(byName(() => Type.Integer()))
      app.get('/names', { schema: { sse: byName(() => Type.Integer()) } }, (_request, reply) => reply.sse([]))
      app.get('/shared', { schema: { sse: { message: Type.Ref('Shared'), own, proto, all } } }, (_request, reply) =>
        reply.sse([]))
    }
    const { document } = await served(t, version, routes)
    t.strictSame(await faultsOf(document), [])
    const stream = (path: string): Json => (document.paths as Json)[path]!.get!.responses!['200'] as unknown as Json
    if (version === undefined) {
      for (const name of NAMES) t.match(JSON.stringify(stream('/names')), `\`${name}\` (JSON)`)
      t.match(JSON.stringify(stream('/shared')), '`message` (JSON): A shared one')
      return
    }
    const text = JSON.stringify(document)
    for (const name of NAMES) t.match(text, `"title":"${name}"`)
    t.match(text, '"deep":{"type":"integer"}')
    t.notOk(text.includes('#/components/schemas/__proto__'))
  })
}

t.test('L8: such a key is counted like any other', async t => {
  const app = Fastify()
  await app.register(sse, {
    limits: { maxStreamsPerKey: 1, keyGenerator: request => String(request.headers['x-key']) }
  })
  const channel = app.sse.channel('news')
  app.get('/', (_request, reply) => reply.sse(channel))
  t.teardown(() => app.close())
  for (const name of NAMES) {
    const first = await injectStream(app, { url: '/', headers: { 'x-key': name } })
    t.equal((await app.inject({ url: '/', headers: { 'x-key': name } })).statusCode, 429, name)
    t.strictSame(app.sse.streams().map(({ key }) => key), [name])
    t.equal(await app.sse.disconnect(name), 1)
    await within('its end', first.disconnect())
    const again = await injectStream(app, { url: '/', headers: { 'x-key': name } })
    await again.disconnect()
  }
})
