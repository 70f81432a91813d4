import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { connect } from '../../lib/client/connect.ts'
import { validate } from '../../lib/client/validate.ts'
import sse from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { oddities } from '../setup/oddities.ts'
import { answers, ends, Scripted, streams } from '../setup/scripted.ts'
import { within } from '../setup/within.ts'

const events = {
  message: Type.String(),
  order: Type.Object({ id: Type.Integer(), at: Type.Optional(Type.String()) }),
  done: Type.Literal('[DONE]'),
  flag: Type.Boolean()
}

/** Returns the events of a stream until it ends, or a number of them. */
async function all<E> (stream: AsyncIterable<E>, count = Infinity): Promise<E[]> {
  const came: E[] = []
  const read = async (): Promise<void> => {
    for await (const event of stream) if (came.push(event) === count) break
  }
  await within('the events', read())
  return came
}

const END = 'id: sse.end\n\n'

t.test('W5: with a map the data of an event is the value that was sent, text or JSON', async t => {
  const app = Fastify()
  await app.register(sse)
  app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse([
    { data: 'null' },
    { event: 'order', data: { id: 1 }, id: 'a' },
    { event: 'flag', data: false },
    { event: 'done', data: '[DONE]' }
  ], { finite: true }))
  const port = await listen(t, app)
  const stream = connect(`http://127.0.0.1:${port}/`, { events })
  t.strictSame(await all(stream), [
    { event: 'message', data: 'null', id: '' },
    { event: 'order', data: { id: 1 }, id: 'a' },
    { event: 'flag', data: false, id: 'a' },
    { event: 'done', data: '[DONE]', id: 'a' }
  ])
  t.strictSame(await stream.closed, { reason: 'complete' })
  t.equal(stream.state, 'closed')
})

t.test('W5: encodings replace a map and its schemas', async t => {
  const server = await Scripted.start(t, ends(`data: 5\n\nevent: order\ndata: {"id":1}\n\n${END}`))
  const stream = connect<Pick<typeof events, 'message' | 'order'>>(server.url, {
    events: { message: 'text', order: 'json' }
  })
  t.same((await all(stream)).map(({ data }) => data), ['5', { id: 1 }])
})

t.test('without a map every event is received as text', async t => {
  const server = await Scripted.start(t, ends(`data: 5\n\nevent: order\nid: 7\ndata: {"id":1}\n\n${END}`))
  t.strictSame(await all(connect(server.url)), [{ event: 'message', data: '5', id: '' }, {
    event: 'order',
    data: '{"id":1}',
    id: '7'
  }])
})

t.test('an undeclared event is skipped, and the position moves past it', async t => {
  const server = await Scripted.start(t, ends('id: 1\nevent: other\ndata: x\n\nid: 2\nevent: toString\ndata: x\n\n'),
    ends(`data: hi\n\n${END}`))
  t.strictSame(await all(connect(server.url, { events, retryDelay: 1 })), [{ event: 'message', data: 'hi', id: '2' }])
  t.equal(server.asked[1]!.headers['last-event-id'], '2')
})

t.test('R3, R5: sse.reset and sse.gap belong to every map', async t => {
  const server = await Scripted.start(t,
    ends(
      `event: sse.reset\ndata: {"reason":"evicted","oldest":4,"newest":9}\n\nevent: sse.gap\ndata: {"dropped":3}\n\n${END}`
    ))
  t.strictSame(await all(connect(server.url, { events })), [
    { event: 'sse.reset', data: { reason: 'evicted', oldest: 4, newest: 9 }, id: '' },
    { event: 'sse.gap', data: { dropped: 3 }, id: '' }
  ])
})

t.test('E2: the server\'s error event is FST_SSE_SERVER_ERROR with its data, and no other attempt follows', async t => {
  const cases: Array<[data: string, message: string, problem: unknown]> = [
    ['{"title":"Not Found","status":404,"detail":"no such order"}', 'The server failed: no such order', {
      title: 'Not Found',
      status: 404,
      detail: 'no such order'
    }],
    ['{"title":"Internal Server Error","status":500}', 'The server failed: Internal Server Error', {
      title: 'Internal Server Error',
      status: 500
    }],
    ['it broke', 'The server failed: it broke', 'it broke'],
    ['null', 'The server failed: null', null],
    ['{"detail":{"toString":1},"title":"odd"}', 'The server failed: odd', { detail: { toString: 1 }, title: 'odd' }],
    ['{"detail":{"toString":1}}', 'The server failed: {"detail":{"toString":1}}', { detail: { toString: 1 } }]
  ]
  for (const [data, message, problem] of cases) {
    for (const map of [{ events }, {}]) {
      const server = await Scripted.start(t, ends(`id: 1\ndata: before\n\nid: 2\nevent: error\ndata: ${data}\n\n`))
      const stream = connect(server.url, map as { events: typeof events })
      const came: unknown[] = []
      stream.on('message', event => came.push(event.data))
      const { error } = await within('the end', stream.closed)
      t.strictSame([error?.code, error?.message, error?.data], ['FST_SSE_SERVER_ERROR', message, problem])
      t.strictSame(came, ['before'], 'the events before it are received')
      t.equal(server.asked.length, 1)
    }
  }
})

t.test('E2: an error of this server rejects the loop', async t => {
  const app = Fastify({ genReqId: () => 'r-1' })
  await app.register(sse)
  app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse((async function * () {
    yield { data: 'before' }
    throw new Error('secret')
  })()))
  const port = await listen(t, app)
  const stream = connect(`http://127.0.0.1:${port}/`, { events })
  await t.rejects(all(stream), {
    code: 'FST_SSE_SERVER_ERROR',
    message: 'The server failed: Internal Server Error',
    data: { status: 500, instance: 'r-1' }
  })
  t.equal((await stream.closed).reason, 'error')
})

t.test('a declared event named error is an ordinary event', async t => {
  const server = await Scripted.start(t, ends(`event: error\ndata: oops\n\n${END}`))
  t.strictSame(await all(connect(server.url, { events: { error: Type.String() } })), [{
    event: 'error',
    data: 'oops',
    id: ''
  }])
})

t.test('data that is not JSON is FST_SSE_INVALID_EVENT, and the position stays before it', async t => {
  const server = await Scripted.start(t, ends('id: 1\ndata: hi\n\nid: 2\nevent: order\ndata: {"id":\n\n'),
    ends(`${END}`))
  const seen: unknown[] = []
  const stream = connect(server.url, {
    events,
    retryDelay: 1,
    onError: error => {
      seen.push(error.code, error.message, error.data, (error.cause as Error).name)
      return true
    }
  })
  t.strictSame(await all(stream), [{ event: 'message', data: 'hi', id: '1' }])
  t.strictSame(seen, ['FST_SSE_INVALID_EVENT', "Event 'order' is not JSON", '{"id":', 'SyntaxError'])
  t.equal(server.asked[1]!.headers['last-event-id'], '1')
})

t.test('C1: with validate, data that does not match its schema is FST_SSE_INVALID_EVENT', async t => {
  const text =
    `data: hi\n\nevent: order\ndata: {"id":1,"more":true}\n\nevent: sse.gap\ndata: {}\n\nevent: order\ndata: {"id":"x"}\n\n${END}`
  const server = await Scripted.start(t, ends(text))
  const stream = connect(server.url, { events, validate })
  const came: unknown[] = []
  stream.on('order', ({ data }) => came.push(data))
  const { error } = await within('the end', stream.closed)
  t.strictSame([error?.code, error?.message, error?.data], ['FST_SSE_INVALID_EVENT',
    "Event 'order' does not match its schema: Expected integer at '/id'", { id: 'x' }])
  t.strictSame(came, [{ id: 1, more: true }])

  t.equal((await all(connect(server.url, { events }))).length, 4, 'without it the server is trusted')
  t.equal(
    (await all(connect<Pick<typeof events, 'order'>>(server.url, { events: { order: 'json' }, validate }))).length,
    3,
    'a form is no schema'
  )
})

t.test('connect() accepts the options of fetch', async t => {
  const server = await Scripted.start(t, ends(`data: hi\n\n${END}`))
  const stream = connect(() => new URL('ask', server.url), {
    events,
    method: 'POST',
    headers: async () => ({ authorization: 'Bearer t' }),
    body: 'prompt',
    lastEventId: '5'
  })
  t.equal((await all(stream)).length, 1)
  const { method, url, headers, body } = await server.request(1)
  t.strictSame([method, url, headers.authorization, headers['last-event-id'], body], ['POST', '/ask', 'Bearer t', '5',
    'prompt'])
})

t.test('break, close() and an abort free the socket', async t => {
  const controller = new AbortController()
  const ways = [
    { options: {}, leave: async (stream: ReturnType<typeof connect>) => { await all(stream, 1) } },
    { options: {}, leave: (stream: ReturnType<typeof connect>) => stream.close() },
    { options: { signal: controller.signal }, leave: () => controller.abort() }
  ]
  for (const { options, leave } of ways) {
    const server = await Scripted.start(t, streams('data: hi\n\n'))
    const stream = connect(server.url, options)
    const { over } = await server.request(1)
    await leave(stream)
    t.strictSame(await within('the end', stream.closed), { reason: 'closed' })
    t.equal(await within('the end of the response', over), false)
  }
})

t.test('with an aborted signal no request is sent', async t => {
  const server = await Scripted.start(t, streams())
  const stream = connect(server.url, { signal: AbortSignal.abort() })
  t.equal(stream.state, 'closed')
  t.strictSame(await all(stream), [])
  t.equal(server.asked.length, 0)
})

t.test('a stream that is over removes its listener from the signal', async t => {
  const { signal } = new AbortController()
  let listeners = 0
  t.intercept(signal, 'addEventListener', { value: () => { listeners++ } })
  t.intercept(signal, 'removeEventListener', { value: () => { listeners-- } })
  const server = await Scripted.start(t, ends(END))
  const stream = connect(server.url, { signal })
  t.equal(listeners, 1)
  await within('the end', stream.closed)
  t.equal(listeners, 0)
})

t.test('state changes with the connection', async t => {
  const states: string[] = []
  const server = await Scripted.start(t, streams(': replay\nid: e-1\ndata: 1\n\n: live\n\nid: e-3\ndata: 3\n\n'),
    ends(`: live\nid: e-2\ndata: 2\n\n${END}`))
  const stream = connect(server.url, { onStateChange: state => states.push(state), retryDelay: 1 })
  t.same((await all(stream)).map(({ data }) => data), ['1', '2'])
  t.strictSame(states, ['replaying', 'live', 'connecting', 'live', 'closed'])
})

t.test('connect() does not throw: the loop, closed and onError report failures', async t => {
  const server = await Scripted.start(t, answers(403, { 'x-why': 'because' }))
  const seen: unknown[] = []
  const stream = connect(server.url, { onError: (error, next) => { seen.push(error.status, next) } })
  await t.rejects(all(stream), { code: 'FST_SSE_STATUS', status: 403 })
  const { reason, error } = await stream.closed
  t.equal(reason, 'error')
  t.equal(error?.headers?.get('x-why'), 'because')
  t.strictSame(seen, [403, { attempt: 1, delay: undefined }])
})

t.test('R2: events that a channel publishes while the client is disconnected arrive after it reconnects', async t => {
  const app = Fastify()
  let visits = 0
  await app.register(sse, { onClose: () => { if (++visits === 1) publish(2) } })
  const channel = app.sse.channel('orders', { events })
  const publish = (id: number): void => { channel.publish({ event: 'order', data: { id } }) }
  const cutOff: Array<() => void> = []
  app.get('/', { schema: { sse: events } }, (request, reply) => {
    cutOff.push(() => request.raw.socket.resetAndDestroy())
    return reply.sse(channel)
  })
  const port = await listen(t, app)
  const codes: string[] = []
  const stream = connect(`http://127.0.0.1:${port}/`, {
    events,
    retryDelay: 1,
    onStateChange: state => { if (state === 'live' && visits === 0) publish(1) },
    onError: error => { codes.push(error.code) }
  })
  stream.on('order', ({ data: { id } }) => { if (id === 1) cutOff[0]!() })
  t.same((await all(stream, 2)).map(({ data }) => data), [{ id: 1 }, { id: 2 }])
  t.strictSame(codes, ['FST_SSE_NETWORK'])
})

t.test('E1: an invalid option ends the stream before any request, and is reported as any failure', async t => {
  for (const [url, options, name] of [
    ['http://there/', { retryDelay: 'x' }, 'retryDelay'],
    ['http://there/', { signal: 5 }, 'signal'],
    ['http://there/', { events: 5 }, 'events'],
    ['http://there/', { lastEventId: 5 }, 'lastEventId'],
    ['http://there/', null, 'options'],
    [undefined, {}, 'url'],
    ['http://there/', { onError: 5, onStateChange: 5 }, 'onError']
  ] as const) {
    const stream = connect(url as never, options as never)
    await t.rejects(all(stream), { code: 'FST_SSE_OPTION', message: new RegExp(`^Option '${name}' must be `) })
    t.match(await stream.closed, { reason: 'error', error: { code: 'FST_SSE_OPTION' } })
  }
  const told: unknown[] = []
  const { closed } = connect('http://there/', {
    share: 5 as never,
    onError: (error, next) => {
      told.push(error.code, next)
    },
    onStateChange: state => {
      told.push(state)
    }
  })
  await closed
  t.strictSame(told, ['FST_SSE_OPTION', { attempt: 1, delay: undefined }, 'closed'])
  const { error } = await connect('http://there/', {
    share: 5 as never,
    onError: () => {
      throw new Error('mistake')
    }
  }).closed
  t.equal(error?.code, 'FST_SSE_CALLBACK')
})

t.test('an unreadable error of any function ends the stream with a StreamError', async t => {
  const server = await Scripted.start(t, ends('data: hi\n\n'))
  for (const [what, thrown] of oddities()) {
    const toss = (): never => { throw thrown }
    const reject = async (): Promise<never> => toss()
    const streams = {
      'onError of a misuse': connect(5 as never, { onError: toss }),
      'a rejected onError of a misuse': connect(5 as never, { onError: reject }),
      onError: connect('http://there/', { fetch: reject, onError: toss }),
      validate: connect(server.url, { events, validate: toss }),
      headers: connect(server.url, { headers: toss }),
      fetch: connect(server.url, { fetch: toss })
    }
    for (const [name, stream] of Object.entries(streams)) {
      await t.rejects(all<unknown>(stream), { name: 'StreamError', code: 'FST_SSE_CALLBACK' }, `${what}: ${name}`)
      t.match(await stream.closed, { reason: 'error', error: { code: 'FST_SSE_CALLBACK' } })
    }
  }
})

t.test('E1: a validate that throws ends the stream with FST_SSE_CALLBACK', async t => {
  const server = await Scripted.start(t, ends('data: hi\n\n'))
  const stream = connect(server.url, { events, validate: () => { throw new TypeError('mistake') }, retryDelay: 1 })
  await t.rejects(all(stream), { code: 'FST_SSE_CALLBACK', message: 'validate() failed: mistake' })
  t.equal(server.asked.length, 1)
})

/** Locks as in a browser: a later request waits. */
class Locks {
  #last: Promise<unknown> = Promise.resolve()

  request (_name: string, { signal }: { signal: AbortSignal }, hold: () => Promise<void>): Promise<void> {
    const held = this.#last.then(() => {
      signal.throwIfAborted()
      return hold()
    })
    this.#last = held.catch(() => {})
    return held
  }
}

t.test('share: with locks, streams of one URL or name use one connection, and each decodes by its own map', async t => {
  t.intercept(globalThis, 'navigator', { value: { locks: new Locks() } })
  for (const share of [true, 'orders']) {
    const server = await Scripted.start(t, streams(':\n\n'))
    const first = connect(server.url, { events, share })
    const { response, over } = await server.request(1)
    let second!: ReturnType<typeof connect>
    await within('the second', new Promise<void>(resolve => {
      second = connect(server.url, {
        share,
        onStateChange: state => {
          if (state === 'live') resolve()
        }
      })
    }))
    const [mine, other] = [all(first, 2), all(second, 2)]
    response.write('id: 1\ndata: 5\n\nevent: flag\ndata: true\n\nevent: none\ndata: x\n\n')
    t.same((await mine).map(({ data }) => data), ['5', true])
    t.same((await other).map(({ data }) => data), ['5', 'true'])
    t.equal(await within('the end of the response', over), false)
  }
})

t.test('share: without locks each stream has its own connection', async t => {
  t.intercept(globalThis, 'navigator', { value: {} })
  const server = await Scripted.start(t, ends(`data: 5\n\n${END}`))
  for (let n = 0; n < 2; n++) t.equal((await all(connect(server.url, { share: true }))).length, 1)
  t.equal(server.asked.length, 2)
})

t.test('share: a path is no name outside of a page', async t => {
  await t.rejects(all(connect('/events', { share: true })), {
    code: 'FST_SSE_REQUEST',
    message: 'The URL failed: Invalid URL'
  })
})

/** A window, for the events of a page. */
function page (t: Test): EventTarget {
  const target = new EventTarget()
  t.intercept(globalThis, 'addEventListener', { value: target.addEventListener.bind(target) })
  t.intercept(globalThis, 'removeEventListener', { value: target.removeEventListener.bind(target) })
  return target
}

t.test('share: a page that enters the back/forward cache closes the connection, unless it must not be opened again', async t => {
  t.intercept(globalThis, 'navigator', { value: { locks: new Locks() } })
  const window = page(t)
  for (const reconnect of [true, false]) {
    const server = await Scripted.start(t, streams('id: 1\ndata: 1\n\n'), streams('id: 2\ndata: 2\n\n'))
    const stream = connect(server.url, { share: `cache ${reconnect}`, reconnect })
    const came: string[] = []
    let heard = (): void => {}
    stream.on('message', ({ data }) => {
      came.push(data)
      heard()
    })
    const { response, over } = await server.request(1)
    await within('the first event', new Promise<void>(resolve => {
      heard = () => {
        if (came.length > 0) resolve()
      }
      heard()
    }))
    window.dispatchEvent(new Event('pagehide'))
    if (reconnect) t.equal(await within('the end of the response', over), false)
    window.dispatchEvent(new Event('pageshow'))
    if (!reconnect) response.write('id: 2\ndata: 2\n\n')
    await within('the second event', new Promise<void>(resolve => {
      heard = () => {
        if (came.length > 1) resolve()
      }
      heard()
    }))
    t.strictSame(came, ['1', '2'])
    t.equal(server.asked.length, reconnect ? 2 : 1)
    stream.close()
    await stream.closed
  }
})
