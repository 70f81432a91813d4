import assert from 'node:assert/strict'
import { after, mock, test } from 'node:test'
// Not the functions by name, which node:test does not replace.
import timers from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import sse, { type CloseReport } from 'fastify-typed-sse'
import { injectStream, openStreams } from 'fastify-typed-sse/testing'
import { held } from '../../setup/within.ts'

// A suite of node:test, as a user has one: test/testing.test.ts runs it.
const real = setImmediate
/** On a busy machine a source yields to the event loop more than once. */
const turn = async (): Promise<void> => {
  for (let n = 0; n < 50; n++) await new Promise<void>(resolve => { real(resolve) })
}

const events = { tick: Type.Object({ n: Type.Integer() }) }
const reports: CloseReport[] = []
const app = Fastify()
await app.register(sse, { heartbeatInterval: 15_000, onClose: report => { reports.push(report) } })

app.get('/ticks', { schema: { sse: events } }, (request, reply) => reply.sse(async function * ({ signal }) {
  for (let n = Number(request.lastEventId ?? 0) + 1; ; n++) {
    yield { event: 'tick', id: n, data: { n } }
    await timers.setTimeout(60_000, undefined, { signal })
  }
}))
app.get('/silent', (request, reply) => reply.sse(({ signal }) => nothing(signal)))
app.get('/short', (request, reply) => reply.sse(({ signal }) => nothing(signal), { maxLifetime: 60_000 }))
let pulled = 0
app.get('/full', (request, reply) =>
  reply.sse(async function * () {
    for (;; pulled++) yield { data: 'x'.repeat(1_000) }
  }, { stallTimeout: 30_000 }))
app.get('/once',
  (request, reply) => reply.sse([{ id: Number(request.lastEventId ?? 0) + 1, data: '' }], { retry: 5_000 }))
app.post('/echo', { schema: { sse: events } },
  (request, reply) => reply.sse([{ event: 'tick', data: request.body as { n: number } }]))

async function * nothing (signal: AbortSignal): AsyncGenerator<{ data: string }> {
  await timers.setTimeout(1e9, undefined, { signal })
}

after(async () => {
  await app.close()
  assert.deepEqual(openStreams(app), [])
})

const CLOCKS: Array<Parameters<typeof mock.timers.enable>[0]> = [
  { apis: ['setTimeout', 'setInterval', 'setImmediate', 'Date'] },
  { apis: ['setTimeout', 'setInterval'] },
  { apis: ['setTimeout', 'setInterval', 'Date'], now: 7 }
]

for (const clock of CLOCKS) {
  test(`under a clock of the test: ${JSON.stringify(clock)}`, async t => {
    t.beforeEach(() => mock.timers.enable(clock))
    t.afterEach(() => mock.timers.reset())

    await t.test('heartbeats', async () => {
      const stream = await injectStream(app, '/silent')
      await turn()
      assert.equal(stream.text, ':\n\n', 'the head arrives by itself')
      for (let beat = 1; beat <= 3; beat++) {
        // After a silence that is measured by ticks of a tenth.
        mock.timers.tick(16_500)
        await turn()
        assert.equal(stream.text, ':\n\n'.repeat(1 + beat))
      }
      mock.timers.tick(100_000)
      await stream.disconnect()
      assert.equal(reports.at(-1)?.reason, 'client')
      assert.ok(reports.at(-1)!.duration >= 145_000)
    })

    await t.test('a source that waits', async () => {
      const stream = await injectStream(app, { url: '/ticks', events })
      assert.deepEqual(await stream.take(1), [{ event: 'tick', data: { n: 1 }, id: '1' }])
      const next = stream.take(1)
      await turn()
      mock.timers.tick(60_000)
      assert.deepEqual(await next, [{ event: 'tick', data: { n: 2 }, id: '2' }])
      const again = await stream.reconnect()
      assert.deepEqual(await again.take(1), [{ event: 'tick', data: { n: 3 }, id: '3' }])
      await again.disconnect()
    })

    await t.test('waits are bounded by the real clock', async () => {
      const stream = await injectStream(app, { url: '/silent', timeout: 200 })
      const wait = stream.take(1)
      mock.timers.tick(10_000_000)
      await assert.rejects(wait, {
        code: 'FST_SSE_TEST_TIMEOUT',
        message: 'GET /silent: 1 event did not arrive within 200 ms; so far: nothing'
      })
      await stream.disconnect()
    })

    await t.test('a lifetime', async () => {
      const stream = await injectStream(app, '/short')
      await turn()
      mock.timers.tick(66_000)
      assert.deepEqual(await stream.takeAll(), [])
      assert.deepEqual([await stream.closed, reports.at(-1)?.reason], [{ reason: 'complete' }, 'expired'])
    })

    await t.test('a client that is stalled', async () => {
      const stream = await injectStream(app, '/full')
      const goOn = stream.stall()
      await held(() => pulled)
      mock.timers.tick(29_000)
      assert.deepEqual(openStreams(app), ['GET /full'])
      mock.timers.tick(4_000)
      await turn()
      assert.deepEqual([openStreams(app), reports.at(-1)?.reason], [[], 'stalled'])
      goOn()
      await stream.takeAll()
    })

    await t.test('retries', async () => {
      const stream = await injectStream(app, { url: '/once', reconnect: true })
      for (let n = 1; n <= 3; n++) {
        const [event] = await stream.take(1)
        assert.equal(event?.id, String(n))
        await turn()
        mock.timers.tick(11_000 * 2 ** n)
      }
      await stream.disconnect()
    })

    await t.test('a body', async () => {
      const stream = await injectStream(app, { method: 'POST', url: '/echo', payload: { n: 4 }, events })
      assert.deepEqual(await stream.takeAll(), [{ event: 'tick', data: { n: 4 }, id: '' }])
    })
  })
}

test('a stream ends with its test', async t => {
  await t.test('which gives its signal', async t => {
    await injectStream(app, { url: '/silent', signal: t.signal })
    assert.deepEqual(openStreams(app), ['GET /silent'])
  })
  await turn()
  assert.deepEqual(openStreams(app), [])
})

test('unread streams, and a stream that reconnects for ever, keep neither the app nor the process running', async () => {
  for (const url of ['/silent', '/full', '/ticks']) await injectStream(app, url)
  await injectStream(app, { url: '/once', reconnect: true })
  const stream = await injectStream(app, { url: '/once', reconnect: true })
  await stream.take(1)
})
