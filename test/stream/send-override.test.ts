import Fastify, { type FastifyReply } from 'fastify'
import t from 'tap'
import { overrideSend } from '../../lib/stream/send-override.ts'
import { fastifyWithout } from '../setup/renamed-symbol.ts'

interface Overridden { head: { released: boolean, type: unknown }, calls: unknown[][] }

/** Replaces the `send` of a reply. `calls` lists the calls of the stream. */
function override (reply: FastifyReply): Overridden {
  const head = { released: false, type: undefined as unknown }
  const calls: unknown[][] = []
  overrideSend(reply, head, {
    handlerFailed: error => { calls.push(['failed', error.message]) },
    handlerReturned: value => { calls.push(['returned', value]) },
    replaced: () => { calls.push(['replaced']) }
  })
  return { head, calls }
}

/** The calls of the stream for a handler, whose reply is sent after it. */
async function callsOf (
  handler: (reply: FastifyReply, overridden: Overridden) => unknown,
  fastify: typeof Fastify = Fastify
): Promise<{ calls: unknown[][], body: string }> {
  const app = fastify()
  let overridden: Overridden
  app.get('/', (_request, reply) => {
    overridden = override(reply)
    setTimeout(() => { if (!reply.sent) reply.hijack().raw.end('the end') }, 20)
    return handler(reply, overridden)
  })
  const { body } = await app.inject('/')
  await app.close()
  return { calls: overridden!.calls, body }
}

t.test('L10: a payload is not sent: the stream gets an error as a failure, and any other payload as a value', async t => {
  const error = new Error('no')
  t.strictSame(await callsOf(reply => { reply.send() }), { calls: [['returned', undefined]], body: 'the end' })
  t.strictSame(await callsOf(reply => { reply.send(7) }), { calls: [['returned', 7]], body: 'the end' })
  t.strictSame(await callsOf(async () => {}), { calls: [['returned', undefined]], body: 'the end' })
  t.strictSame(await callsOf(reply => {
    reply.send(error)
  }), { calls: [['failed', 'no']], body: 'the end' })
  t.strictSame(await callsOf(async () => {
    throw error
  }), { calls: [['failed', 'no']], body: 'the end' })
  t.strictSame(await callsOf(() => {
    // eslint-disable-next-line no-throw-literal
    throw 'a text'
  }), { calls: [['failed', 'The handler threw "a text" (string)']], body: 'the end' })
})

t.test('L10: a payload is sent when the error handlers own the reply, or when the reply is sent already', async t => {
  t.strictSame(await callsOf((reply, { head }) => {
    head.released = true
    reply.send('error reply')
  }), { calls: [], body: 'error reply' })
  t.strictSame(await callsOf(reply => {
    reply.hijack().send('too late')
    reply.raw.end('hijacked')
  }), { calls: [], body: 'hijacked' })
})

t.test('L9: a payload of another content type is the error reply of an onSend hook that failed', async t => {
  const send = (type: string | undefined, payload: unknown) => callsOf((reply, { head }) => {
    head.type = 'text/event-stream'
    if (type !== undefined) reply.type(type)
    reply.send(payload)
  })
  t.strictSame(await send(undefined, 'error reply'), { calls: [], body: 'error reply' })
  t.strictSame(await send('text/plain', 'error reply'), { calls: [], body: 'error reply' })
  t.strictSame(await send('text/plain', undefined), { calls: [['returned', undefined]], body: 'the end' })
  t.strictSame(await send('text/event-stream', 'a value'), { calls: [['returned', 'a value']], body: 'the end' })
})

t.test('E1: if Fastify keeps no mark of errors, it decides about a payload that is no error', async t => {
  const fastify = fastifyWithout('fastify.reply.isError')
  t.match(await callsOf(() => {
    // eslint-disable-next-line no-throw-literal
    throw 'a text'
  }, fastify), { calls: [['replaced']], body: /a text/ })
  t.strictSame(await callsOf(() => 'a value', fastify), { calls: [['replaced']], body: 'a value' })
  t.strictSame(await callsOf(() => { throw new Error('no') }, fastify).then(({ calls }) => calls), [['failed', 'no']])
  t.strictSame(await callsOf(async () => {}, fastify), { calls: [['returned', undefined]], body: 'the end' })
})
