import { EventEmitter, on, once } from 'node:events'
import { get } from 'node:http'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { asData, EventQueue } from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { rowsOf } from '../setup/markdown.ts'
import { ours, theirs, v2 } from '../setup/peers.ts'
import { until } from '../setup/until.ts'

// Each row of the migration tables of lib/other-packages.md, with the other plugin and with this package.

const ACCEPT = { accept: 'text/event-stream' }

interface Received {
  events: Array<Partial<EventSourceMessage>>
  retry: number | undefined
  status: number
  body: string
}

/** Waits for the end of the stream and returns its events as a client receives them. */
async function receive (t: Test, app: FastifyInstance, headers: Record<string, string> = {}): Promise<Received> {
  t.teardown(() => app.close())
  const { body, statusCode: status } = await app.inject({ url: '/', headers: { ...ACCEPT, ...headers } })
  const received: Received = { events: [], retry: undefined, status, body }
  const parser = createParser({
    onEvent: event => { received.events.push({ ...event }) },
    onRetry: retry => { received.retry = retry }
  })
  parser.feed(body)
  return received
}

/** Checks that both apps send the same events, and that there are events. */
async function same (
  t: Test,
  there: FastifyInstance,
  here: FastifyInstance,
  headers: Record<string, string> = {}
): Promise<[Received, Received]> {
  const [before, after] = [await receive(t, there, headers), await receive(t, here, headers)]
  t.ok(after.events.length > 0)
  t.strictSame(after.events, before.events)
  return [before, after]
}

/** Connects, waits for the first bytes, closes the connection and waits for a state of the server. */
async function leave (t: Test, app: FastifyInstance, holds: () => boolean): Promise<void> {
  const request = get({ host: '127.0.0.1', port: await listen(t, app), headers: ACCEPT, agent: false })
  const [response] = await once(request.on('error', () => {}), 'response') as [Readable]
  await once(response.on('error', () => {}), 'data')
  request.destroy()
  await until('the clean-up', holds)
}

const value = { n: 1, text: 'two\nlines' }
async function * numbers (): AsyncGenerator<{ id: string, event: string, data: string }> {
  for (const n of [1, 2, 3]) yield { id: String(n), event: 'number', data: String(n) }
}

type RowTest = (t: Test) => Promise<void>

const V2: Record<string, RowTest> = {
  '`app.register(FastifySSEPlugin)`': async t => {
    for (const app of [await v2(() => {}), await ours(() => {})]) t.ok(app.hasReplyDecorator('sse'))
  },
  '`reply.sse(generator())`': async t => {
    await same(t, await v2((_request, reply) => reply.sse(numbers())),
      await ours((_request, reply) => reply.sse(numbers())))
  },
  '`data: JSON.stringify(value)`': async t => {
    await same(t,
      await v2((_request, reply) => reply.sse((async function * () { yield { data: JSON.stringify(value) } })())),
      await ours((_request, reply) => reply.sse([{ data: value }])))
  },
  '`reply.sse({ data })`, once per event': async t => {
    await same(t,
      await v2(async (_request, reply) => {
        for await (const event of numbers()) reply.sse(event)
        reply.sseContext.source.end()
      }),
      await ours((_request, reply) => {
        const queue = new EventQueue({ capacity: 3 })
        ;(async () => {
          for await (const event of numbers()) await queue.push(event)
          queue.end()
        })().catch(error => queue.end(error))
        return reply.sse(queue)
      }))
  },
  '`reply.sseContext.source.end()`': async t => {
    await same(t,
      await v2((_request, reply) => {
        reply.sse({ data: 'last' })
        reply.sseContext.source.end()
      }),
      await ours((_request, reply) => {
        const queue = new EventQueue({ capacity: 1 })
        queue.push({ data: 'last' }).catch(error => t.fail(error))
        queue.end()
        return reply.sse(queue)
      }))
  },
  "`on(emitter, 'update', { signal })` with a controller of your own": async t => {
    const emitters = [new EventEmitter(), new EventEmitter()] as const
    const soon = (emitter: EventEmitter): void => { setTimeout(() => emitter.emit('update', 'x'), 20) }
    const there = await v2((request, reply) => {
      const controller = new AbortController()
      request.socket.on('close', () => controller.abort())
      reply.sse((async function * () {
        try {
          for await (const [data] of on(emitters[0], 'update', { signal: controller.signal })) yield { data }
        } catch {}
      })())
      soon(emitters[0])
    })
    const here = await ours((_request, reply) => {
      soon(emitters[1])
      return reply.sse(async function * ({ signal }) {
        for await (const [data] of on(emitters[1], 'update', { signal })) yield { data }
      })
    })
    for (const [index, app] of [there, here].entries()) {
      await leave(t, app, () => emitters[index]!.listenerCount('update') === 0)
    }
  },
  "`request.socket.on('close', cleanUp)`": async t => {
    let calls = 0
    await leave(t, await v2((request, reply) => {
      request.socket.on('close', () => { calls++ })
      reply.sse({ data: 'x' })
    }), () => calls === 1)
    await leave(t, await ours((_request, reply) => reply.sse(async function * ({ signal }) {
      try {
        yield { data: 'x' }
        await once(signal, 'abort')
      } finally {
        calls++
      }
    })), () => calls === 2)
  },
  '`{ retryDelay: 5000 }`, 3000 by default': async t => {
    const [before, after] = await same(t, await v2((_request, reply) => reply.sse(numbers()), { retryDelay: 5000 }),
      await ours((_request, reply) => reply.sse(numbers()), { retry: 5000 }))
    t.equal(after.retry, 5000)
    t.equal(before.retry, 5000)
    t.equal((await receive(t, await v2((_request, reply) => reply.sse(numbers())))).retry, 3000)
    t.equal((await receive(t, await ours((_request, reply) => reply.sse(numbers())))).retry, undefined)
  },
  '`{ retryDelay: false }`': async t => {
    const [before, after] = await same(t, await v2((_request, reply) => reply.sse(numbers()), { retryDelay: false }),
      await ours((_request, reply) => reply.sse(numbers())))
    t.equal(after.retry, before.retry)
  },
  '`{ highWaterMark: 1024 }`': async t => {
    await same(t, await v2((_request, reply) => reply.sse(numbers()), { highWaterMark: 1024 }),
      await ours((_request, reply) => reply.sse(numbers())))
  }
}

const SSE: Record<string, RowTest> = {
  "`{ sse: 'only' }`, `{ sse: true }`": async t => {
    for (const route of ['only', true]) {
      await same(t, await theirs(route, (_request, reply) => reply.sse.send({ data: 1 })),
        await ours((_request, reply) => reply.sse([{ data: 1 }])))
    }
  },
  '`await reply.sse.send({ data })`, once per event': async t => {
    await same(t,
      await theirs('only', async (_request, reply) => {
        for (const n of [1, 2]) await reply.sse.send({ id: n, event: 'number', data: { n } })
      }),
      await ours((_request, reply) => reply.sse(async function * () {
        for (const n of [1, 2]) yield { id: n, event: 'number', data: { n } }
      })))
  },
  '`await reply.sse.send(iterable)`': async t => {
    const events = async function * (): AsyncGenerator<{ data: object }> {
      yield { data: value }
    }
    await same(t, await theirs('only', (_request, reply) => reply.sse.send(events())),
      await ours((_request, reply) => reply.sse(events())))
  },
  '`await reply.sse.send(readable)` of text': async t => {
    const readable = (): Readable => Readable.from(['one', 'two\nlines'])
    await same(t, await theirs('only', (_request, reply) => reply.sse.send(readable())),
      await ours((_request, reply) => reply.sse(asData(readable()))))
  },
  "`send('text')`": async t => {
    const [before, after] = await same(t, await theirs('only', (_request, reply) => reply.sse.send('text')),
      await ours((_request, reply) => reply.sse([{ data: 'text' }])))
    t.equal(after.body, before.body)
  },
  "`send({ data: 'text' })`, sent with quotes": async t => {
    const [before, after] = await same(t, await theirs('only', (_request, reply) => reply.sse.send({ data: 'text' })),
      await ours((_request, reply) => reply.sse([{ data: JSON.stringify('text') }])))
    t.equal(after.body, before.body)
  },
  '`{ serializer }`': async t => {
    const serializer = (data: unknown): string => `<${String(data)}>`
    await same(t, await theirs('only', (_request, reply) => reply.sse.send({ data: 1 }), { serializer }),
      await ours((_request, reply) => reply.sse([{ data: serializer(1) }])))
  },
  '`pipeline(readable, transform, reply.sse.stream(), reply.raw)`': async t => {
    const lines = (): Readable => Readable.from(['{"id":1}', '{"id":2}'])
    await same(t, await theirs('only', async (_request, reply) => {
      const parse = new Transform({
        objectMode: true,
        transform: (line, _encoding, done) => done(null, { id: JSON.parse(line).id, data: JSON.parse(line) })
      })
      await pipeline(lines(), parse, reply.sse.stream(), reply.raw, { end: false })
    }), await ours((_request, reply) =>
      reply.sse(async function * () {
        for await (const line of lines()) yield { id: JSON.parse(line).id as number, data: JSON.parse(line) }
      })))
  },
  '`reply.sse.keepAlive()`, later `send()` and `close()`': async t => {
    await same(t,
      await theirs('only', async (_request, reply) => {
        reply.sse.keepAlive()
        await reply.sse.send({ data: 1 })
        setTimeout(async () => {
          await reply.sse.send({ data: 2 })
          reply.sse.close()
        }, 5)
      }),
      await ours((_request, reply) => {
        const queue = new EventQueue({ capacity: 1 })
        queue.push({ data: 1 }).catch(error => t.fail(error))
        setTimeout(async () => {
          await queue.push({ data: 2 })
          queue.end()
        }, 5)
        return reply.sse(queue)
      }))
  },
  '`reply.sse.lastEventId`': async t => {
    await same(t,
      await theirs('only', (_request, reply) => reply.sse.send({ data: Number(reply.sse.lastEventId) })),
      await ours((request, reply) => reply.sse([{ data: Number(request.lastEventId) }])), { 'last-event-id': '7' })
  },
  '`reply.sse.replay(callback)`': async t => {
    const history = [1, 2, 3].map(n => ({ id: String(n), data: n }))
    const there = await theirs('only', (_request, reply) => reply.sse.replay(async lastEventId => {
      for (const event of history.slice(Number(lastEventId))) await reply.sse.send(event)
    }))
    const here = await ours((request, reply) => reply.sse(history.slice(Number(request.lastEventId))))
    await same(t, there, here, { 'last-event-id': '1' })
    const channelled = await ours((_request, reply) => reply.sse(channelled.sse.channel('numbers')))
    const ids = await Promise.all(history.map(({ data }) => channelled.sse.channel('numbers').publish({ data })))
    await channelled.sse.channel('numbers').end()
    const { events } = await receive(t, channelled, { 'last-event-id': ids[0]! })
    t.strictSame(events.map(({ data }) => data).filter(data => data !== ''), ['2', '3'], 'a channel replays by itself')
  },
  '`reply.sse.onClose(cleanUp)`': async t => {
    let calls = 0
    await leave(t, await theirs('only', async (_request, reply) => {
      reply.sse.keepAlive()
      reply.sse.onClose(() => { calls++ })
      await reply.sse.send({ data: 'x' })
    }), () => calls === 1)
    await leave(t, await ours((_request, reply) => reply.sse(async function * ({ signal }) {
      signal.addEventListener('abort', () => { calls++ })
      yield { data: 'x' }
      await once(signal, 'abort')
    })), () => calls === 2)
  },
  '`reply.sse.isConnected`': async t => {
    let isOpen = (): boolean => true
    await leave(t, await theirs('only', async (_request, reply) => {
      reply.sse.keepAlive()
      isOpen = () => reply.sse.isConnected
      await reply.sse.send({ data: 'x' })
      t.ok(isOpen())
    }), () => !isOpen())
    await leave(t, await ours((_request, reply) => reply.sse(async function * ({ signal }) {
      isOpen = () => !signal.aborted
      t.ok(isOpen())
      yield { data: 'x' }
      await once(signal, 'abort')
    })), () => !isOpen())
  },
  '`{ heartbeatInterval }`, 30000 by default': async t => {
    const silence = (): Promise<void> => new Promise(resolve => { setTimeout(resolve, 300) })
    const there = await receive(t, await theirs('only', async (_request, reply) => {
      await reply.sse.send({ data: 1 })
      await silence()
    }, { heartbeatInterval: 20 }))
    const here = await receive(t, await ours((_request, reply) => reply.sse(async function * () {
      yield { data: 1 }
      await silence()
    }), { heartbeatInterval: 20 }))
    for (const { body } of [there, here]) t.match(body, /^:.*\n\n/m)
    t.strictSame(here.events, there.events)
  },
  '`{ sse: { heartbeat: false } }`': async t => {
    const silence = (): Promise<void> => new Promise(resolve => { setTimeout(resolve, 300) })
    const [there, here] = await same(t, await theirs({ heartbeat: false }, async (_request, reply) => {
      await reply.sse.send({ data: 1 })
      await silence()
    }, { heartbeatInterval: 20 }), await ours((_request, reply) => reply.sse(async function * () {
      yield { data: 1 }
      await silence()
    }, { heartbeatInterval: 0 }), { heartbeatInterval: 20 }))
    t.equal(here.body, there.body)
  },
  "`{ sse: 'dual' }`, `if (reply.sse)`": async t => {
    const there = await theirs('dual',
      async (_request, reply) => reply.sse === undefined ? value : await reply.sse.send({ data: value }))
    const here = await ours((request, reply) =>
      request.headers.accept === 'text/event-stream' ? reply.sse([{ data: value }]) : reply.send(value)
    )
    await same(t, there, here)
    for (const app of [there, here]) t.same((await app.inject('/')).json(), value)
  },
  "`{ sse: 'manual' }`": async t => {
    const there = await theirs('manual',
      async (request, reply) => request.headers['x-stream'] === 'yes' ? await reply.sse.send({ data: value }) : value)
    const here = await ours((request, reply) =>
      request.headers['x-stream'] === 'yes' ? reply.sse([{ data: value }]) : reply.send(value)
    )
    await same(t, there, here, { 'x-stream': 'yes' })
    for (const app of [there, here]) t.same((await app.inject('/')).json(), value)
  },
  "`{ sse: 'only' }`, status 406 for `Accept: application/json`": async t => {
    const there = await theirs('only', (_request, reply) => reply.sse.send({ data: 1 }))
    const here = await ours((_request, reply) => reply.sse([{ data: 1 }]))
    const checked = await ours((_request, reply) => reply.sse([{ data: 1 }]))
    checked.addHook('onRequest', async (request, reply) => {
      if (request.headers.accept === 'application/json') await reply.code(406).send()
    })
    const negotiated = await ours((_request, reply) => reply.sse([{ data: 1 }]), { formats: ['event-stream', 'ndjson'] })
    const json = { accept: 'application/json' }
    const statuses = []
    for (const app of [there, here, checked, negotiated]) statuses.push((await receive(t, app, json)).status)
    t.strictSame(statuses, [406, 200, 406, 406])
  },
  '`reply.code(201)`, `reply.sse.sendHeaders(201)`': async t => {
    const byCode = await theirs('only', async (_request, reply) => {
      reply.code(201)
      await reply.sse.send({ data: 1 })
    })
    const byHead = await theirs('only', async (_request, reply) => {
      reply.sse.sendHeaders(201)
      await reply.sse.send({ data: 1 })
    })
    for (const there of [byCode, byHead]) {
      const statuses = (await same(t, there, await ours((_request, reply) => reply.code(201).sse([{ data: 1 }])))).map((
        { status }
      ) => status)
      t.strictSame(statuses, [201, 201])
    }
  }
}

for (const [name, tests] of [['fastify-sse-v2', V2], ['@fastify/sse', SSE]] as const) {
  t.test(`the table for programs with ${name} has a test for each row`, async t => {
    t.strictSame(rowsOf('lib/other-packages.md', name).map(([there]) => there), Object.keys(tests))
  })
  for (const [row, test] of Object.entries(tests)) t.test(`${name}: ${row}`, test)
}
