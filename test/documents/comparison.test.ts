import { get } from 'node:http'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { listen } from '../setup/listen.ts'
import { ours, theirs, v2 } from '../setup/peers.ts'
import { until } from '../setup/until.ts'

// Rows of the comparison in lib/other-packages.md, in the order: this package, @fastify/sse, fastify-sse-v2.
type Source = () => AsyncIterable<{ data: string }>
const PLUGINS: Record<string, (source: Source) => Promise<FastifyInstance>> = {
  'fastify-typed-sse': source => ours((_request, reply) => reply.sse(source())),
  '@fastify/sse': source => theirs('only', (_request, reply) => reply.sse.send(source())),
  'fastify-sse-v2': source => v2((_request, reply) => reply.sse(source()))
}

/** Opens the stream of an app. `head` settles with the response. */
async function connect (t: Test, app: FastifyInstance): Promise<{ leave: () => void, head: Promise<unknown> }> {
  const request = get({
    host: '127.0.0.1',
    port: await listen(t, app),
    headers: { accept: 'text/event-stream' },
    agent: false
  }).on('error', () => {})
  const head = once(request, 'response').then(([response]) => (response as Readable).on('error', () => {}).resume(),
    () => {})
  const leave = (): void => {
    request.destroy()
  }
  t.teardown(leave)
  return { leave, head }
}

async function * endless (): AsyncGenerator<{ data: string }> {
  // fastify-sse-v2 does not stop it: unreferenced timers keep no process alive.
  for (;; await sleep(10, undefined, { ref: false })) yield { data: 'x' }
}

/** Returns a fact of each plugin, in their order. */
const each = async <T>(
  t: Test,
  source: Source,
  look: (app: FastifyInstance, name: string) => Promise<T>
): Promise<T[]> => {
  const found = []
  for (const [name, make] of Object.entries(PLUGINS)) {
    const app = await make(source)
    t.teardown(() => app.close())
    found.push(await look(app, name))
  }
  return found
}

t.test('onSend hooks run, do not run, do not run', async t => {
  const calls = await each(t, async function * () { yield { data: 'x' } }, async app => {
    let count = 0
    app.addHook('onSend', async () => { count++ })
    await app.inject({ url: '/', headers: { accept: 'text/event-stream' } })
    return count
  })
  t.strictSame(calls, [1, 0, 0])
})

/** Returns whether a promise settles, or waits: for a short time where it must not settle, for a long one else. */
const outcome = async (promise: Promise<unknown>, waits: boolean): Promise<string> => {
  const controller = new AbortController()
  const time = sleep(waits ? 300 : 30_000, 'waits', { signal: controller.signal }).catch(() => 'settled')
  return await Promise.race([promise.then(() => 'settled'), time]).finally(() => controller.abort())
}

t.test('the head is sent after 50 ms, with the first event, at once', async t => {
  const heads = await each(t, async function * () {
    await sleep(60_000, undefined, { ref: false })
    yield { data: 'x' }
  }, async (app, name) => {
    const { head, leave } = await connect(t, app)
    const before = await outcome(head, name === '@fastify/sse')
    leave()
    return before
  })
  t.strictSame(heads, ['settled', 'waits', 'settled'])
})

t.test('a disconnect stops the source, ends the loop with the next event, is an event of the socket', async t => {
  const returned = new Set<string>()
  for (const [name, make] of Object.entries(PLUGINS)) {
    const app = await make(async function * () {
      try {
        yield * endless()
      } finally {
        returned.add(name)
      }
    })
    const { head, leave } = await connect(t, app)
    await head
    leave()
    if (name === 'fastify-sse-v2') await sleep(200)
    else await until(`${name} returns`, () => returned.has(name))
  }
  t.strictSame([...returned], ['fastify-typed-sse', '@fastify/sse'])
})

t.test('app.close() ends streams, waits for open streams, waits for open streams', async t => {
  const closed = await each(t, endless, async (app, name) => {
    const { head, leave } = await connect(t, app)
    await head
    const result = await outcome(app.close(), name !== 'fastify-typed-sse')
    leave()
    return result
  })
  t.strictSame(closed, ['settled', 'waits', 'waits'])
})

t.test('an Accept of JSON is not read, is answered with 406, is not read', async t => {
  const statuses = await each(t, async function * () { yield { data: 'x' } }, async app => {
    return (await app.inject({ url: '/', headers: { accept: 'application/json' } })).statusCode
  })
  t.strictSame(statuses, [200, 406, 200])
})

t.test('with `formats` the client gets the format that it accepts, or 406', async t => {
  const app = await ours((_request, reply) => reply.sse([{ data: 'x' }]), { formats: ['event-stream', 'ndjson'] })
  t.teardown(() => app.close())
  const answer = async (accept: string): Promise<unknown[]> => {
    const { statusCode, headers } = await app.inject({ url: '/', headers: { accept } })
    return [statusCode, headers['content-type']]
  }
  t.strictSame(await answer('text/event-stream;q=0.5, application/x-ndjson'), [200, 'application/x-ndjson'])
  t.strictSame(await answer('text/event-stream'), [200, 'text/event-stream; charset=utf-8'])
  t.match(await answer('application/json'), [406])
})
