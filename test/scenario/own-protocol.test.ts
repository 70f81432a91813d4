import { setTimeout as delay } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, {
  type AnyEvent, type Channel, type CloseReport, type OpenReport, type SseOptions, type SystemEvent
} from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { open, type RawRequest, type RawResponse } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

// Streams of protocols whose client expects an end of its own and no event of this package.

/** Sends a request and returns the response when it is complete. */
async function responseOf (t: Test, port: number, request: RawRequest): Promise<RawResponse> {
  const client = await open(port, { ...request, headers: { connection: 'close', ...request.headers } })
  t.teardown(() => client.socket.destroy())
  await within(`the end of ${request.path ?? '/'}`, client.closed)
  return client.responses()[0]!
}

async function server (
  t: Test,
  routes: (app: FastifyInstance) => void,
  options: SseOptions = {}
): Promise<{ app: FastifyInstance, port: number, opened: OpenReport[], closed: CloseReport[], logs: string[] }> {
  const [opened, closed, logs]: [OpenReport[], CloseReport[], string[]] = [[], [], []]
  const app = Fastify({ logger: { level: 'warn', stream: { write: line => { logs.push(line) } } } })
  await app.register(sse, {
    onOpen: report => { opened.push(report) },
    onClose: report => { closed.push(report) },
    ...options
  })
  routes(app)
  return { app, port: await listen(t, app), opened, closed, logs }
}

const DONE = { data: '[DONE]' }

t.test('the event of `end` is the last one of a source that ended', async t => {
  const { port, closed } = await server(t, app => {
    app.get('/object', (_request, reply) => reply.sse([{ data: 'a' }], { end: DONE }))
    app.get('/function', (_request, reply) => reply.sse([{ data: 'a' }], { end: () => ({ ...DONE, id: 2 }) }))
    app.get('/empty', (_request, reply) => reply.sse([], { end: DONE }))
    app.get('/finite', (_request, reply) => reply.sse([{ data: 'a' }], { end: DONE, finite: true }))
  })
  t.equal((await responseOf(t, port, { path: '/object' })).body, 'data: a\n\ndata: [DONE]\n\n')
  t.equal((await responseOf(t, port, { path: '/function' })).body, 'data: a\n\nid: 2\ndata: [DONE]\n\n')
  t.equal((await responseOf(t, port, { path: '/empty' })).body, 'data: [DONE]\n\n')
  t.match((await responseOf(t, port, { path: '/finite' })).body,
    /^data: a\n\ndata: \[DONE\]\n\nevent: sse\.position\nid: .+\ndata: \n\n$/)
  t.strictSame(closed.map(({ events, lastEventId }) => [events, lastEventId]).slice(0, 3),
    [[2, undefined], [2, '2'], [1, undefined]])
})

t.test('no other end sends it: an error, a lifetime, a revocation, the shutdown, HEAD', async t => {
  let closing = false
  const { port, closed } = await server(t, app => {
    const endless = async function * (): AsyncGenerator<AnyEvent> {
      yield { data: 'a' }
      if (closing) app.close().catch(() => {})
      await new Promise(() => {})
    }
    app.get('/error', (_request, reply) => reply.sse((function * (): Generator<AnyEvent> {
      yield { data: 'a' }
      throw new Error('lost')
    })(), { end: DONE }))
    app.get('/lifetime', (_request, reply) => reply.sse(endless(), { end: DONE, maxLifetime: 1 }))
    app.get('/revoked', (_request, reply) =>
      reply.sse(endless(), { end: DONE, reauthorize: () => false, reauthorizeInterval: 1 }))
    app.get('/shutdown', (_request, reply) => reply.sse(endless(), { end: DONE }))
  })
  for (const path of ['/error', '/lifetime', '/revoked']) {
    t.notMatch((await responseOf(t, port, { path })).body, 'DONE', path)
  }
  t.equal((await responseOf(t, port, { path: '/error', method: 'HEAD' })).body, '')
  closing = true
  t.notMatch((await responseOf(t, port, { path: '/shutdown' })).body, 'DONE')
  t.strictSame(closed.map(({ reason }) => reason), ['error', 'expired', 'revoked', 'shutdown'])
})

t.test('it is sent when a channel ends, and not when the source of the channel failed', async t => {
  const { app, port } = await server(t, app => {
    app.get<{ Params: { name: string } }>('/:name', (request, reply) =>
      reply.sse(app.sse.channel(request.params.name, { start: 'earliest' }), { end: DONE }))
  })
  const [good, bad] = ['good', 'bad'].map(name => app.sse.channel(name, { start: 'earliest' })) as [Channel, Channel]
  const bodies = async (): Promise<string[]> =>
    (await Promise.all(['/good', '/bad'].map(path => responseOf(t, port, { path })))).map(({ body }) => body)
  const live = bodies()
  while (app.sse.stats().streams.open < 2) await delay(5)
  await good.publishFrom([{ data: 'a' }])
  await bad.publishFrom((function * (): Generator<{ data: string }> {
    yield { data: 'a' }
    throw new Error('lost')
  })()).catch(() => {})
  for (const [kind, [ended, failed]] of [['live', await live], ['stored', await bodies()]] as const) {
    t.match(ended, /data: a\n\ndata: \[DONE\]\n\n$/, kind)
    t.match(failed, /data: a\n\nevent: error\nid: .+\ndata: .+\n\n$/, kind)
  }
})

t.test('an invalid event of `end` is treated as `onInvalid` decides', async t => {
  const { port, logs } = await server(t, app => {
    const schema = { sse: { message: { type: 'string' } } } as const
    app.get('/error', { schema }, (_request, reply) => reply.sse([{ data: 'a' }], { end: { data: 1 } as never }))
    app.get('/skip', { schema }, (_request, reply) =>
      reply.sse([{ data: 'a' }], { end: { data: 1 } as never, onInvalid: 'skip' }))
    app.get('/throws', (_request, reply) => reply.sse([{ data: 'a' }], { end: () => { throw new Error('mine') } }))
    app.get('/alone', (_request, reply) => reply.sse([], { end: () => { throw new Error('mine') } }))
  })
  t.match((await responseOf(t, port, { path: '/error' })).body, /^data: a\n\nevent: error\n/)
  t.equal((await responseOf(t, port, { path: '/skip' })).body, 'data: a\n\n')
  t.match((await responseOf(t, port, { path: '/throws' })).body, /^data: a\n\nevent: error\n/)
  t.equal((await responseOf(t, port, { path: '/alone' })).status, 500)
  t.match(logs.join(''), /FST_SSE_DATA[^]*sse event left out[^]*mine/)
})

t.test('an onInvalid that throws for the event of `end` ends the stream with its error, for a source and a channel', async t => {
  const { app, port, logs } = await server(t, app => {
    const options = {
      end: () => 'no event' as never,
      onInvalid: () => { throw new Error('from onInvalid') }
    }
    app.get('/source', (_request, reply) => reply.sse([{ data: 'a' }], options))
    app.get('/later', (_request, reply) => reply.sse(async function * () {
      yield { data: 'a' }
      await delay(5)
    }, options))
    app.get('/channel', (_request, reply) => reply.sse(app.sse.channel('over', { start: 'earliest' }), options))
  })
  await app.sse.channel('over', { start: 'earliest' }).publish({ data: 'a' })
  await app.sse.channel('over', { start: 'earliest' }).end()
  for (const path of ['/source', '/later', '/channel']) {
    t.match((await responseOf(t, port, { path })).body, /data: a\n\nevent: error\n/, path)
  }
  t.equal(logs.join('').split('"message":"from onInvalid"').length - 1, 3)
})

t.test('onOpen is called for each stream that opens, and for nothing else', async t => {
  const { app, port, opened, closed } = await server(t, app => {
    app.get('/', (_request, reply) => reply.sse([{ data: 'a' }]))
    app.get('/hook', { onSend: async () => {} }, (_request, reply) => reply.sse([{ data: 'a' }]))
    app.get('/throws', (_request, reply) => reply.sse((function * (): Generator<AnyEvent> { throw new Error('x') })()))
    app.get('/ended', (_request, reply) => reply.sse(app.sse.channel('ended')))
  })
  const id = await app.sse.channel('ended').publish({ data: 'a' })
  await app.sse.channel('ended').end()
  await responseOf(t, port, { headers: { 'Last-Event-ID': '7' } })
  await responseOf(t, port, { path: '/hook' })
  t.strictSame(opened, [{ lastEventId: '7' }, { lastEventId: undefined }])
  t.equal((await responseOf(t, port, { method: 'HEAD' })).status, 200)
  t.equal((await responseOf(t, port, { path: '/throws' })).status, 500)
  t.equal((await responseOf(t, port, { path: '/ended', headers: { 'Last-Event-ID': id } })).status, 204)
  t.equal(opened.length, 2)
  t.equal(closed.filter(({ reason }) => reason === 'complete').length, 2)
})

t.test('an onOpen that throws or rejects is logged, and the stream goes on', async t => {
  for (const onOpen of [() => { throw new Error('mine') }, async () => { throw new Error('mine') }]) {
    const { port, logs } = await server(t, app => {
      app.get('/', (_request, reply) => reply.sse([{ data: 'a' }]))
    }, { onOpen })
    t.equal((await responseOf(t, port, {})).body, 'data: a\n\n')
    t.match(logs.join(''), 'sse callback failed')
  }
})

const SHORT = { history: { maxEvents: 1 } }

/** A channel whose history is too short for the position of the client. */
async function shortChannel (app: FastifyInstance): Promise<string> {
  const channel = app.sse.channel('short', SHORT)
  const id = await channel.publish({ data: 'a' })
  for (const data of ['b', 'c', 'd']) await channel.publish({ data })
  return id
}

const RESET = /^: live\nevent: sse\.reset\nid: .+\ndata: .+\n\n/

t.test('systemEvent replaces sse.reset, omits it, or omits all events of this package', async t => {
  const seen: SystemEvent[] = []
  const choices: Record<string, SseOptions['systemEvent']> = {
    same: event => event,
    own: event => {
      seen.push(event)
      return { event: 'lost', data: event.event, id: 'mine' }
    },
    left: () => null,
    none: null
  }
  const { app, port, closed } = await server(t, app => {
    app.get<{ Params: { choice: string } }>('/:choice', (request, reply) =>
      reply.sse(app.sse.channel('short', SHORT), { systemEvent: choices[request.params.choice], maxLifetime: 200 }))
    app.get('/default', (_request, reply) => reply.sse(app.sse.channel('short', SHORT), { maxLifetime: 200 }))
    const schema = { sse: { declared: { type: 'string' }, message: { type: 'string' } } } as const
    for (const [url, event] of [['/declared', 'declared'], ['/undeclared', 'lost']] as const) {
      app.get(url, { schema }, (_request, reply) => reply.sse(
        app.sse.channel('short', SHORT).subscribe({ map: ({ data }) => ({ data: String(data) }) }),
        { systemEvent: () => ({ event, data: 'some' }), maxLifetime: 200 }
      ))
    }
  })
  const id = await shortChannel(app)
  const bodyOf = async (path: string): Promise<string> =>
    (await responseOf(t, port, { path, headers: { 'Last-Event-ID': id } })).body
  t.match(await bodyOf('/default'), RESET)
  t.match(await bodyOf('/same'), RESET)
  t.match(await bodyOf('/own'), /^: live\nevent: lost\nid: (?!mine).+\ndata: sse.reset\n\n/)
  t.match(await bodyOf('/left'), /^: live\nevent: sse\.position\nid: .+\ndata: \n\n/)
  t.match(await bodyOf('/declared'), /^: live\nevent: declared\nid: .+\ndata: some\n\n/)
  t.match(await bodyOf('/undeclared'), /^: live\nevent: lost\nid: .+\ndata: some\n\n/)
  const none = await bodyOf('/none')
  t.notMatch(none, 'event: sse')
  t.match(seen, [{ event: 'sse.reset', data: { reason: 'evicted' } }])
  t.strictSame(closed.map(({ omittedSystemEvents }) => omittedSystemEvents), [0, 0, 0, 1, 0, 0, 1])
  t.equal(app.sse.stats().resets, 7, 'each is counted')
})

t.test('systemEvent of null sends no position for events that a filter drops, or for a gap', async t => {
  const { app, port, closed } = await server(t, app => {
    app.get('/', (_request, reply) => {
      const channel = app.sse.channel('filtered', { history: { maxEvents: 4 }, slowConsumer: 'skip', start: 'earliest' })
      return reply.sse(channel.subscribe({ filter: ({ data }) => data === 'kept' }), {
        systemEvent: null,
        heartbeatInterval: 20,
        end: DONE
      })
    })
  })
  const channel = app.sse.channel('filtered', { history: { maxEvents: 4 }, slowConsumer: 'skip', start: 'earliest' })
  const response = responseOf(t, port, {})
  while (app.sse.stats().streams.open < 1) await delay(5)
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < 9; n++) await channel.publish({ data: 'dropped' })
    await delay(60)
  }
  await channel.publish({ data: 'kept' })
  await channel.end()
  t.match((await response).body, /^: live\n\n(:\n\n)+id: .+-28\ndata: kept\n\n(:\n\n)*data: \[DONE\]\n\n$/)
  t.match(closed, [{ events: 2, omittedSystemEvents: 0 }])
})

t.test('a systemEvent that throws, or returns no event, ends the stream with an error', async t => {
  const isAsync = (async () => ({ data: 'mine' })) as unknown as () => AnyEvent
  for (const systemEvent of [() => { throw new Error('mine') }, () => 'text' as never, isAsync]) {
    const { app, port, logs } = await server(t, app => {
      app.get('/', (_request, reply) => reply.sse(app.sse.channel('short', SHORT), { systemEvent }))
    })
    const id = await shortChannel(app)
    const { status, body } = await responseOf(t, port, { headers: { 'Last-Event-ID': id } })
    t.equal(status, 500, body)
    t.match(logs.join(''), /mine|FST_SSE/)
  }
})
