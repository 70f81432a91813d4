import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { EventQueue, memoryLog, type AnyEvent, type LogBatch, type RegisterOptions, type SourceContext } from '../lib/index.ts'
import { Scope, shared } from '../lib/scope.ts'
import { listen } from './setup/listen.ts'
import { open, type RawClient } from './setup/raw.ts'
import { within } from './setup/within.ts'

interface Store { user: string }

const storage = new AsyncLocalStorage<Store>()
/** The user in whose context it is asked. */
const user = (): string => storage.getStore()?.user ?? 'nobody'
const sleep = (time: number): Promise<void> => new Promise(resolve => setTimeout(resolve, time))

interface Made { app: FastifyInstance, port: number, come: (user: string, path?: string) => Promise<RawClient> }

/** An app in which each request has a context of its own, as @fastify/request-context gives it. */
async function make (t: Test, options: RegisterOptions, routes: (app: FastifyInstance) => unknown): Promise<Made> {
  const app = Fastify({ forceCloseConnections: true })
  app.addHook('onRequest', (request, _reply, done) => storage.run({ user: String(request.headers['x-user']) }, done))
  await app.register(sse, options)
  await routes(app)
  const port = await listen(t, app)
  const come = async (user: string, path = '/'): Promise<RawClient> => {
    const client = await open(port, { path, headers: { 'x-user': user } })
    t.teardown(() => client.socket.destroy())
    await within('the head', client.until('\r\n\r\n'))
    return client
  }
  return { app, port, come }
}

/** Settles when it is so. */
async function until (what: string, isSo: () => boolean): Promise<void> {
  const startedAt = performance.now()
  while (!isSo()) {
    if (performance.now() - startedAt > 5_000) throw new Error(`${what}: not within 5 s`)
    await sleep(1)
  }
}

t.test('a scope runs a function where it was made, and the shared one where no request is', async t => {
  const scope = storage.run({ user: 'ann' }, () => new Scope())
  t.equal(scope.runInAsyncScope(user), 'ann')
  storage.run({ user: 'bob' }, () => {
    t.equal(scope.runInAsyncScope(user), 'ann')
    t.equal(shared.runInAsyncScope(user), 'nobody')
  })
})

t.test('L11: revalidate asks in the context of its own request, and not in that of the first', async t => {
  const sessions = new Set(['ann', 'bob'])
  const { come, app } = await make(t, { revalidate: () => sessions.has(user()), revalidateInterval: 100 }, app => app.get('/', (_request, reply) => reply.sse(new EventQueue())))
  const ann = await come('ann')
  const bob = await come('bob')
  sessions.delete('bob')
  await within('the end of bob', bob.until('event: error'))
  t.equal(app.sse.streams().length, 1)
  t.notMatch(ann.received, 'event: error')
  sessions.delete('ann')
  await within('the end of ann', ann.until('event: error'))
})

t.test('L11: onClose, errorEvent, onInvalid, listeners of the signal and the source itself run there, whatever ends the stream', async t => {
  const ends: Array<[what: string, options: RegisterOptions, end: (app: FastifyInstance, client: RawClient) => unknown]> = [
    ['the client', {}, (_app, client) => client.socket.destroy()],
    ['disconnect', {}, app => app.sse.disconnect(() => true)],
    ['the lifetime', { maxLifetime: 50 }, () => {}],
    ['revalidate', { revalidate: () => false, revalidateInterval: 50 }, () => {}],
    ['the shutdown', {}, app => { app.sse.drain().catch(() => {}) }]
  ]
  for (const [what, options, end] of ends) {
    const seen: string[] = []
    const see = (name: string): void => { seen.push(`${name} ${user()}`) }
    const { app, come } = await make(t, {
      ...options,
      onClose: () => see('onClose'),
      errorEvent: () => { see('errorEvent'); return null }
    }, app => {
      app.get('/', { schema: { sse: { message: Type.String() } } }, (request, reply) => {
        request.signal.addEventListener('abort', () => see('signal'))
        return reply.sse(async function * ({ signal }: SourceContext): AsyncGenerator<AnyEvent> {
          signal.addEventListener('abort', () => see('signal of the source'))
          try {
            yield { data: 'open' }
            await new Promise(resolve => signal.addEventListener('abort', resolve))
            see('source')
          } finally {
            see('finally')
          }
        } as never)
      })
    })
    const client = await come('ann')
    await storage.run({ user: 'eve' }, async () => {
      await end(app, client)
      await until(`onClose, ended by ${what}`, () => seen.some(line => line.startsWith('onClose')) && seen.some(line => line.startsWith('finally')))
    })
    t.strictSame([...new Set(seen.map(line => line.split(' ').at(-1)))], ['ann'], what)
    t.ok(seen.includes('signal ann') && seen.includes('signal of the source ann') && seen.includes('source ann'), what)
    t.equal(seen.includes('errorEvent ann'), what === 'disconnect' || what === 'revalidate', what)
  }
})

t.test('L11: a listener of closing runs in no context of a request or of the caller of drain() or close()', async t => {
  for (const close of ['drain', 'close'] as const) {
    const seen: string[] = []
    const source = async function * ({ closing }: SourceContext): AsyncGenerator<AnyEvent> {
      closing.addEventListener('abort', () => seen.push(`source ${user()}`))
      yield { data: 'open' }
      await once(closing, 'abort')
      seen.push(`after its wait ${user()}`)
    }
    const { app, come } = await make(t, {}, app => app.get('/', (_request, reply) => reply.sse(source)))
    app.sse.closing.addEventListener('abort', () => seen.push(`app ${user()}`))
    const client = await come('ann')
    await within('the event', client.until('data: open'))
    await storage.run({ user: 'eve' }, () => close === 'drain' ? app.sse.drain() : app.close())
    t.strictSame(seen, ['app nobody', 'source nobody', 'after its wait ann'], close)
  }
})

t.test('L11: a source that waits for its client goes on in the context of its request', async t => {
  const seen = new Set<string>()
  let pulled = 0
  const data = 'x'.repeat(100_000)
  const source = {
    [Symbol.asyncIterator]: () => ({
      next: async () => { seen.add(`next ${user()}`); return { value: { data }, done: ++pulled > 300 } },
      return: () => { seen.add(`return ${user()}`); return Promise.resolve({ value: undefined, done: true }) }
    })
  }
  const { come } = await make(t, {}, app => app.get('/', (_request, reply) => reply.sse(source as AsyncIterable<AnyEvent>)))
  const client = await come('ann')
  client.socket.pause()
  for (let before = -1; before !== pulled;) {
    before = pulled
    await sleep(20)
  }
  t.ok(pulled < 300, 'it waits')
  client.socket.resume()
  await until('all of it', () => pulled > 300)
  t.strictSame([...seen], ['next ann'])
  pulled = 0
  const other = await come('bob')
  other.socket.pause()
  other.socket.destroy()
  await until('the return', () => seen.has('return bob'))
  t.strictSame([...seen], ['next ann', 'next bob', 'return bob'])
})

t.test('L11: filter, map and snapshot run in the context of the subscriber, not in the publisher\'s', async t => {
  const seen: string[] = []
  const see = <T>(name: string, value: T): T => { seen.push(`${name} ${user()}`); return value }
  const { app, come, port } = await make(t, {}, app => {
    const channel = app.sse.channel('news')
    app.get('/', (_request, reply) => reply.sse(channel.subscribe({
      filter: () => see('filter', true),
      map: event => see('map', { event: 'message', data: event.data }),
      snapshot: () => see('snapshot', null)
    })))
    app.get('/unwanted', (_request, reply) => reply.sse(channel.subscribe({ map: () => ({ event: 'message', data: undefined }) }), {
      onInvalid: () => see('onInvalid', 'skip')
    }))
    app.get('/loop', async () => {
      const loop = channel.subscribe({ filter: () => see('filter of a loop', true) })[Symbol.asyncIterator]()
      return { data: (await loop.next()).value?.data }
    })
  })
  const ann = await come('ann')
  await come('bob', '/unwanted')
  const loop = open(port, { path: '/loop', headers: { 'x-user': 'cid' } })
  await until('three followers', () => app.sse.find('news')!.subscribers === 3)
  await storage.run({ user: 'eve' }, () => app.sse.channel('news').publish({ data: 1 }))
  await within('the event', ann.until('data: 1\n\n'))
  const client = await loop
  t.teardown(() => client.socket.destroy())
  await within('the answer', client.until('{"data":1}'))
  await until('onInvalid', () => seen.length >= 5)
  t.strictSame(seen.sort(), ['filter ann', 'filter of a loop cid', 'map ann', 'onInvalid bob', 'snapshot ann'])
})

t.test('L11: the key of slow readers belongs to the channel, and runs in the context of no request', async t => {
  const seen: string[] = []
  const { app, come } = await make(t, {}, app => {
    const channel = app.sse.channel('news', { slow: { latest: () => { seen.push(user()); return 1 } } })
    app.get('/', (_request, reply) => reply.sse(channel))
  })
  const ann = await come('ann')
  await storage.run({ user: 'eve' }, () => app.sse.find('news')!.publish({ data: 1 }))
  await within('the event', ann.until('data: 1\n\n'))
  t.strictSame(seen, ['nobody'])
})

t.test('L11: hooks of a response and the handler of errors run there, where a stream is revoked before its head', async t => {
  const seen: string[] = []
  const { app, port } = await make(t, { commitDelay: 10_000 }, app => {
    app.setErrorHandler((error, _request, reply) => { seen.push(`error handler ${user()}`); reply.code(403).send({ message: (error as Error).message }) })
    app.addHook('onSend', async () => { seen.push(`onSend ${user()}`) })
    app.get('/', (_request, reply) => reply.sse(new EventQueue()))
  })
  const client = await open(port, { headers: { 'x-user': 'ann' } })
  t.teardown(() => client.socket.destroy())
  await until('the stream', () => app.sse.streams().length === 1)
  await storage.run({ user: 'eve' }, () => app.sse.disconnect(() => true))
  await within('the answer', client.until('no longer permitted'))
  t.strictSame(seen, ['error handler ann', 'onSend ann'])
  const other = await open(port, { headers: { 'x-user': 'bob' } })
  await until('the stream', () => app.sse.streams().length === 1)
  await storage.run({ user: 'eve' }, () => app.sse.drain())
  await within('the end', other.until('\r\n\r\n'))
  other.socket.destroy()
  t.strictSame(seen.slice(2), ['onSend bob'])
})

t.test('L11: diagnostics of a stream and its lines in the log come in the context of its request', async t => {
  const seen: string[] = []
  const hear = (name: string): void => {
    const listener = (): void => { seen.push(`${name} ${user()}`) }
    subscribe(`fastify-typed-sse:${name}`, listener)
    t.teardown(() => unsubscribe(`fastify-typed-sse:${name}`, listener))
  }
  for (const name of ['open', 'close', 'error']) hear(name)
  const app = Fastify({ forceCloseConnections: true, logger: { level: 'info', mixin: () => ({ user: user() }), stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } } })
  const lines: Array<{ msg: string, user: string }> = []
  app.addHook('onRequest', (request, _reply, done) => storage.run({ user: String(request.headers['x-user']) }, done))
  await app.register(sse)
  const channel = app.sse.channel('news')
  app.get('/', (_request, reply) => reply.sse(channel.subscribe({ filter: () => { throw new Error('no filter') } })))
  const port = await listen(t, app)
  const client = await open(port, { headers: { 'x-user': 'ann' } })
  await within('the stream', client.until(': live'))
  await storage.run({ user: 'eve' }, () => channel.publish({ data: 1 }))
  await within('the end', client.until('event: error'))
  client.socket.destroy()
  await until('close', () => seen.length === 3)
  t.strictSame(seen, ['open ann', 'error ann', 'close ann'])
  for (const text of ['sse stream failed', 'sse stream closed']) t.equal(lines.find(({ msg }) => msg === text)?.user, 'ann', text)
})

t.test('L11: diagnostics of what a subscriber lost come in the context of its own stream', async t => {
  const seen: string[] = []
  for (const name of ['drop', 'reset']) {
    const listener = (message: unknown): void => {
      const { request } = message as { request?: { headers: Record<string, unknown> } }
      seen.push(`${name} ${String(request?.headers['x-user'])} ${user()}`)
    }
    subscribe(`fastify-typed-sse:${name}`, listener)
    t.teardown(() => unsubscribe(`fastify-typed-sse:${name}`, listener))
  }
  const store = memoryLog()
  let epoch = 'a'
  const heard = new Set<(batch: LogBatch) => void>()
  const { app, come } = await make(t, {
    log: (name, history) => {
      const log = store(name, history)
      return {
        append: record => log.append(record),
        read: (after, limit) => log.read(after, limit),
        head: async () => ({ ...await log.head(), epoch }),
        tail: listener => {
          heard.add(listener)
          return () => heard.delete(listener)
        },
        end: () => log.end(),
        idle: () => log.idle(),
        close: () => log.close()
      }
    }
  }, app => {
    const channel = app.sse.channel('news', { history: { events: 1 } })
    app.get('/', (_request, reply) => reply.sse(channel))
    app.get('/oldest', (_request, reply) => reply.sse(channel.subscribe({ start: 'oldest' })))
  })
  for (let n = 0; n < 3; n++) await app.sse.find('news')!.publish({ data: n })
  const ann = await come('ann', '/oldest')
  await within('the gap', ann.until('sse.gap'))
  t.strictSame(seen.splice(0), ['drop ann ann'])
  const bob = await come('bob')
  await within('its stream', bob.until(': live'))
  // The log begins anew, and another request finds out.
  epoch = 'b'
  await storage.run({ user: 'eve' }, async () => {
    for (const listener of heard) listener({ entries: [], epoch, newest: 0, ended: false })
    await Promise.all([ann, bob].map(async client => within('the reset', client.until('sse.reset'))))
  })
  t.strictSame(seen.sort(), ['reset ann ann', 'reset bob bob'])
})

t.test('L11: a producer follows the end of its log in the context of no request', async t => {
  const seen: string[] = []
  const store = memoryLog()
  const { app, come } = await make(t, {
    log: (name, history) => {
      const log = store(name, history)
      const tail = log.tail.bind(log)
      log.tail = listener => {
        seen.push(user())
        return tail(listener)
      }
      return log
    }
  }, app => {
    const channel = app.sse.channel('run')
    app.get('/', (_request, reply) => {
      channel.consume(new EventQueue()).catch(() => {})
      return reply.sse(channel)
    })
  })
  const ann = await come('ann')
  await within('the stream', ann.until(': live'))
  t.strictSame(seen, ['nobody', 'nobody'])
  await app.sse.find('run')!.end()
})

t.test('L11: a signal of a request without a stream aborts in the context in which it was asked for', async t => {
  const seen: string[] = []
  const { port } = await make(t, {}, app => app.get('/', { schema: { sse: { message: Type.String() } } }, async request => {
    request.signal.addEventListener('abort', () => seen.push(user()))
    await once(request.signal, 'abort')
  }))
  const client = await open(port, { headers: { 'x-user': 'ann' } })
  await turn()
  await sleep(20)
  client.socket.destroy()
  await until('the abort', () => seen.length > 0)
  t.strictSame(seen, ['ann'])
})

t.test('L11: a producer\'s source runs and stops in the context of consume()', async t => {
  const seen: string[] = []
  const { app, port } = await make(t, {}, app => {
    const channel = app.sse.channel('run')
    app.get('/', async () => {
      channel.consume(async function * ({ signal }) {
        signal.addEventListener('abort', () => seen.push(`signal ${user()}`))
        try {
          yield { data: 1 }
          await new Promise(resolve => signal.addEventListener('abort', resolve))
        } finally {
          seen.push(`finally ${user()}`)
        }
      }).catch(() => {})
      return 'begun'
    })
  })
  const client = await open(port, { headers: { 'x-user': 'ann', connection: 'close' } })
  await within('the answer', client.closed)
  await storage.run({ user: 'eve' }, () => app.sse.find('run')!.end())
  await until('the end', () => seen.length === 2)
  t.strictSame(seen, ['signal ann', 'finally ann'])
})

t.test('L11: timers that streams share hold no value of the first request', async t => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const refs: Array<WeakRef<Store>> = []
  const app = Fastify({ forceCloseConnections: true })
  app.addHook('onRequest', (request, _reply, done) => {
    const store = { user: String(request.headers['x-user']) }
    refs.push(new WeakRef(store))
    storage.run(store, done)
  })
  await app.register(sse)
  const options = { slow: { latest: () => 1 } }
  // The channel is made within the first request.
  app.get('/', (_request, reply) => reply.sse(app.sse.channel('news', options)))
  const port = await listen(t, app)
  const [ann, bob] = [await open(port, { headers: { 'x-user': 'ann' } }), await open(port, { headers: { 'x-user': 'bob' } })]
  t.teardown(() => bob.socket.destroy())
  for (const client of [ann, bob]) await within('the stream', client.until(': live'))
  ann.socket.destroy()
  await until('one stream', () => app.sse.streams().length === 1)
  for (let n = 0; n < 100 && refs[0]!.deref() !== undefined; n++) {
    await sleep(10)
    collect()
  }
  t.equal(refs[0]!.deref(), undefined)
  t.not(refs[1]!.deref(), undefined, 'a stream that is open keeps its own')
})
