import { EventEmitter, getEventListeners, getMaxListeners, once } from 'node:events'
import type { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { EventQueue, type SourceContext } from '../lib/index.ts'
import { addToMaxListeners, sharedController } from '../lib/listeners.ts'
import { listen } from './setup/listen.ts'
import { open } from './setup/raw.ts'
import { within } from './setup/within.ts'

/** Returns the warnings of Node during the test. */
function warnings (t: Test): string[] {
  const warned: string[] = []
  const onWarning = (warning: Error): void => { warned.push(`${warning.name}: ${warning.message}`) }
  process.on('warning', onWarning)
  t.teardown(() => process.removeListener('warning', onWarning))
  return warned
}

async function build (t: Test, server: object = {}): Promise<{ app: FastifyInstance, port: () => Promise<number> }> {
  const app = Fastify({ forceCloseConnections: true, ...server })
  await app.register(sse)
  return { app, port: () => listen(t, app) }
}

t.test('a shared signal may have any number of listeners', async t => {
  const warned = warnings(t)
  const { signal } = sharedController()
  for (let n = 0; n < 50; n++) signal.addEventListener('abort', () => {})
  await turn()
  t.strictSame(warned, [])
})

t.test('the listener limit is raised and lowered again, and no limit stays no limit', t => {
  for (const target of [new EventEmitter(), new AbortController().signal]) {
    const before = getMaxListeners(target)
    addToMaxListeners(target, 3)
    // From Node 22 on, a signal has no limit.
    t.equal(getMaxListeners(target), before === 0 ? 0 : before + 3)
    addToMaxListeners(target, -3)
    t.equal(getMaxListeners(target), before)
  }
  const any = new EventEmitter().setMaxListeners(0)
  addToMaxListeners(any, 1)
  addToMaxListeners(any, -1)
  t.equal(any.getMaxListeners(), 0)
  t.doesNotThrow(() => addToMaxListeners({} as EventTarget, 1), 'not one of Node\'s')
  t.end()
})

type Use = (context: SourceContext, app: FastifyInstance) => Promise<unknown>
const forever = (signal: AbortSignal): Promise<unknown> => sleep(1e8, undefined, { signal })
const USES: Record<string, Use> = {
  '`closing`': ({ signal, shutdownSignal: closing }) => Promise.race([forever(closing), forever(signal)]),
  '`app.sse.shutdownSignal`': ({ signal }, app) => Promise.race([forever(app.sse.shutdownSignal), forever(signal)]),
  'its own signal, many times': ({ signal }) => Promise.all(Array.from({ length: 12 }, () => forever(signal))),
  'the signal of its queue': async ({ signal }) => {
    const queue = new EventQueue()
    for (let n = 0; n < 12; n++) queue.signal.addEventListener('abort', () => {})
    await forever(signal)
  }
}

for (const [what, use] of Object.entries(USES)) {
  t.test(`L3: twelve streams that each wait for ${what} cause no warning`, async t => {
    const warned = warnings(t)
    const { app, port } = await build(t)
    let over = 0
    app.get('/', (_request, reply) => reply.sse(async function * (context: SourceContext) {
      try {
        yield { data: 'first' }
        await use(context, app)
      } finally {
        over++
      }
    }))
    const to = await port()
    const clients = await Promise.all(Array.from({ length: 12 }, () => open(to)))
    await Promise.all(clients.map(client => client.until('first')))
    for (const client of clients) client.socket.destroy()
    while (over < clients.length) await turn()
    t.strictSame(warned, [])
  })
}

t.test('L3: streams that share the signal of a subscription leave no listener and no changed limit', async t => {
  const warned = warnings(t)
  const { app, port } = await build(t)
  const { signal } = new AbortController()
  const limit = getMaxListeners(signal)
  const channel = app.sse.channel('news')
  app.get('/', (_request, reply) => reply.sse(channel.subscribe({ signal })))
  const to = await port()
  for (let round = 0; round < 2; round++) {
    const clients = await Promise.all(Array.from({ length: 15 }, () => open(to)))
    await Promise.all(clients.map(client => client.until(': live')))
    t.equal(getEventListeners(signal, 'abort').length, 15)
    for (const client of clients) client.socket.destroy()
    while (channel.subscribers > 0) await turn()
    t.strictSame([getEventListeners(signal, 'abort').length, getMaxListeners(signal)], [0, limit])
  }
  t.strictSame(warned, [])
})

for (const hooked of [false, true]) {
  t.test(`L3: twenty pipelined streams cause no warning and leave no listener on their connection${hooked ? ', through a hook' : ''}`, async t => {
    const warned = warnings(t)
    const { app, port } = await build(t)
    if (hooked) app.addHook('onSend', async () => {})
    let free!: () => void
    const freed = new Promise<void>(resolve => { free = resolve })
    app.get('/', (_request, reply) => reply.sse(async function * () {
      yield { data: 'first' }
      await freed
    }))
    app.get('/plain', async () => 'plain')
    const connected = once(app.server, 'connection') as Promise<[Socket]>
    const client = await open(await port(), { path: '/plain' })
    const [socket] = await connected
    await client.until('plain')
    const count = (): Record<string, number> => ({
      close: socket.listenerCount('close'),
      end: socket.listenerCount('end'),
      limit: socket.getMaxListeners()
    })
    const before = count()
    for (let n = 0; n < 20; n++) client.request({})
    while (app.sse.streams().length < 20) await turn()
    await client.until('first')
    free()
    while (client.received.split('\r\n0\r\n\r\n').length < 21) {
      await within('the end of a stream', once(client.socket, 'data'))
    }
    while (app.sse.streams().length > 0) await turn()
    t.strictSame(count(), before)
    t.strictSame(warned, [])
    client.socket.destroy()
  })
}
