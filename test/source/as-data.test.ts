import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { PassThrough, Readable } from 'node:stream'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import { asData, named } from '../../lib/source/as-data.ts'
import { iterate, type EventIterator, type EventSequence, type SourceContext } from '../../lib/source/source.ts'
import sse from '../../lib/server/plugin.ts'

const chunks = ['a', 'b']
async function * generate (): AsyncGenerator<string> { yield * chunks }

async function readAll (source: unknown): Promise<unknown[]> {
  const iterator = iterate(source)
  const values: unknown[] = []
  for (let step = await iterator.next(); step.done !== true; step = await iterator.next()) values.push(step.value)
  await iterator.return?.()
  return values
}

const kinds: Array<[kind: string, make: () => EventSequence<string>]> = [
  ['an array', () => chunks],
  ['a Set', () => new Set(chunks)],
  ['a generator', () => (function * () { yield * chunks })()],
  ['an async generator', generate],
  ['a Node readable', () => Readable.from(chunks)],
  ['a web stream', () =>
    new ReadableStream<string>({
      start (controller) {
        for (const chunk of chunks) controller.enqueue(chunk)
        controller.close()
      }
    })]
]

for (const [kind, make] of kinds) {
  t.test(`the chunks of ${kind} become events, with a name and without`, async t => {
    const context = { lastEventId: '7' } as SourceContext
    t.strictSame(await readAll(asData(make())), [{ data: 'a' }, { data: 'b' }])
    t.strictSame(await readAll(asData(make(), 'token')), [{ event: 'token', data: 'a' }, { event: 'token', data: 'b' }])
    t.strictSame(await readAll(await asData(make)(context)), [{ data: 'a' }, { data: 'b' }])
    t.strictSame(await readAll(await asData(async () => make(), 'token')(context)), [{ event: 'token', data: 'a' }, {
      event: 'token',
      data: 'b'
    }])
  })
}

t.test('a function source receives the context of the stream, and its error is the error of the source', async t => {
  const context = { lastEventId: '7' } as SourceContext
  t.strictSame(await readAll(await asData(given => [given === context])(context)), [{ data: true }])
  await t.rejects(asData(() => { throw new Error('no model today') })(context), /no model today/)
  await t.rejects(asData(async () => { throw new Error('no model today') })(context), /no model today/)
})

t.test('L10: any other value is rejected at the first read', async t => {
  for (const nothing of ['text', 5, null, undefined, {}]) {
    t.throws(() => iterate(asData(nothing as unknown as string[])), { code: 'FST_SSE_SOURCE' })
  }
})

t.test('a source is read on demand, and its error is passed on', async t => {
  let read = 0
  const iterator = iterate(asData((function * () { yield ++read; yield ++read; throw new Error('mine') })()))
  t.equal(read, 0)
  t.strictSame(await iterator.next(), { done: false, value: { data: 1 } })
  t.equal(read, 1)
  await iterator.next()
  await t.rejects(async () => iterator.next(), /mine/)
})

t.test('C2: the error of a rejected event is thrown into its generator, at the yield', async t => {
  const iterator = iterate(asData(function * (): Generator<unknown> {
    try {
      yield 1
    } catch (error) {
      yield (error as Error).message
    }
  }()))
  await iterator.next()
  t.strictSame(await iterator.throw!(new Error('refused')), { done: false, value: { data: 'refused' } })
  t.equal(iterate(asData(['a'])).throw, undefined)
})

t.test('L3: the source stops at once, also during a pending read', async t => {
  const node = new PassThrough()
  let cancelled = false
  let returned = false
  const web = new ReadableStream<string>({
    cancel () {
      cancelled = true
    }
  })
  const own = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<IteratorResult<string>>(() => {}),
      return: async () => {
        returned = true
        return { done: true as const, value: undefined }
      }
    })
  }
  for (const source of [node, web, own] as Array<EventSequence<string>>) {
    const iterator: EventIterator = iterate(asData(source))
    Promise.resolve(iterator.next()).catch(() => {})
    iterator.return!()
  }
  t.ok(node.destroyed)
  t.ok(cancelled)
  t.ok(returned)
  t.equal(iterate(asData(['a'])).return!(), undefined, 'an array has nothing to stop')
})

t.test('L3: a readable is destroyed when the client disconnects, each of a hundred times', async t => {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse)
  const open = new Set<PassThrough>()
  app.get('/sse', (_request, reply) => {
    const readable = new PassThrough({ encoding: 'utf8' })
    open.add(readable)
    readable.once('close', () => { open.delete(readable) })
    readable.write('chunk')
    return reply.sse(asData(readable))
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  t.teardown(() => app.close())
  const { port } = app.server.address() as AddressInfo
  for (let i = 0; i < 100; i++) {
    const leave = new AbortController()
    const response = await fetch(`http://127.0.0.1:${port}/sse`, { signal: leave.signal })
    const reader = response.body!.getReader()
    t.equal(new TextDecoder().decode((await reader.read()).value), 'data: chunk\n\n')
    const closed = [...open].map(readable => once(readable, 'close'))
    leave.abort()
    await Promise.all(closed)
  }
  t.equal(open.size, 0)
})

type Chunk = { type: 'start', id: string } | { type: 'delta', text: string }
const protocol: Chunk[] = [{ type: 'start', id: 'a' }, { type: 'delta', text: 'b' }]
const namedEvents = [{ event: 'start', data: protocol[0] }, { event: 'delta', data: protocol[1] }]

t.test('named: chunks become events with the names in their type', async t => {
  const context = { lastEventId: '7' } as SourceContext
  t.strictSame(await readAll(named(protocol)), namedEvents)
  t.strictSame(await readAll(named(Readable.from(protocol) as AsyncIterable<Chunk>)), namedEvents)
  t.strictSame(await readAll(await named(() => protocol)(context)), namedEvents)
  t.strictSame(await readAll(await named(async () => protocol)(context)), namedEvents)
  t.strictSame(await readAll(await named(async function * ({ lastEventId }) {
    yield { type: 'start', id: String(lastEventId) }
  })(context)), [{ event: 'start', data: { type: 'start', id: '7' } }])
})

t.test('named: a chunk without a name is an invalid event, also if the map declares message', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  const schema = { sse: { start: Type.Object({ type: Type.String() }), message: Type.Unknown() } }
  const chunks = [{}, { type: '' }, { type: 5 }, { type: null }, 'text', null, undefined]
  for (const [path, map] of [['/typed', schema], ['/free', {}]] as const) {
    for (const [index, chunk] of chunks.entries()) {
      app.get(`${path}/${index}`, { schema: map },
        (_request, reply) => reply.sse(named([chunk] as unknown as Array<{ type: 'start' }>)))
    }
  }
  app.get('/skip', { schema }, (_request, reply) =>
    reply.sse(named([{}, { type: 'start' }] as Array<{ type: 'start' }>), { onInvalid: 'skip' }))
  for (const path of ['/typed', '/free']) {
    for (const [index, chunk] of chunks.entries()) {
      const response = await app.inject(`${path}/${index}`)
      t.equal(response.json().code, 'FST_SSE_FIELD', `${path}: ${JSON.stringify(chunk)}`)
    }
  }
  t.equal((await app.inject('/skip')).body, 'event: start\ndata: {"type":"start"}\n\n')
})
