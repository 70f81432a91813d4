import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import {
  STATE, factsOf, kHandler, kStream, lifecycleOf, readRequest, restartLifecycle, setResponse, signal,
  stateOf
} from '../../lib/server/request-state.ts'

/** The result of a function of the request, in a handler of an app whose requests have the state. */
async function inHandler<T> (
  read: (request: FastifyRequest, reply: Parameters<typeof readRequest>[1]) => T,
  { hook = true, decorated = true, sse = false } = {}
): Promise<T> {
  const app = Fastify()
  if (decorated) for (const key of STATE) app.decorateRequest(key, null)
  if (hook) app.addHook('onRequest', (request, reply, done) => { readRequest(request, reply, true); done() })
  let result!: T
  app.get('/', sse ? { schema: { sse: {} } } : {}, async (request, reply) => {
    result = read(request, reply)
    return ''
  })
  await app.inject({ url: '/', headers: { 'last-event-id': 'a-1' } })
  await app.close()
  return result
}

const FACTS = { lastEventId: 'a-1', eventSource: false, address: '127.0.0.1' }

t.test('the facts of a request are read once by the hook, and at the time of the call without it', async t => {
  for (const [options, same] of [[{}, true], [{ hook: false, decorated: false }, false]] as const) {
    const [first, second] = await inHandler(request => [factsOf(request), factsOf(request)], options)
    t.strictSame([first, first === second], [FACTS, same])
  }
})

t.test('the fields of a request are null', async t => {
  t.strictSame(await inHandler(request => [stateOf(request)[kStream], stateOf(request)[kHandler]]), [null, null])
})

t.test('L2: a request has one lifecycle, until it is restarted', async t => {
  await inHandler(request => {
    const lifecycle = lifecycleOf(request)
    t.equal(lifecycleOf(request), lifecycle)
    restartLifecycle(request)
    t.equal(lifecycle.reason, 'client')
    t.not(lifecycleOf(request), lifecycle)
  })
})

t.test('L2: the lifecycle ends with the response, also when it is known later', async t => {
  for (const hook of [true, false]) {
    const lifecycle = await inHandler((request, reply) => {
      const early = lifecycleOf(request)
      setResponse(request, reply.raw)
      t.equal(lifecycleOf(request), early)
      return early
    }, { hook })
    t.equal(lifecycle.reason, 'complete')
  }
})

t.test('request.signal is the lifecycle\'s on a route with schema.sse, and Fastify\'s on all others', async t => {
  t.equal(await inHandler(request => signal.call(request) === request.signal), true)
  t.equal(await inHandler(request => signal.call(request) === lifecycleOf(request).signal, { sse: true }), true)
  const bare = { routeOptions: { schema: undefined } } as unknown as FastifyRequest
  t.equal(signal.call(bare), lifecycleOf(bare).signal, 'a Fastify without request.signal')
})
