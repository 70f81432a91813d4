import { setTimeout as sleep } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import { EventQueue, type EventOf, type SourceContext } from 'fastify-typed-sse'
import { page } from '../page.ts'

export const events = {
  message: Type.Object({ status: Type.Integer(), resMsg: Type.String() })
}
type Message = EventOf<typeof events>

const TOTAL = 10
const INTERVAL = 300

const message = (n: number): Message => ({ data: { status: 200, resMsg: `server sent event message: ${n}` } })

/** Variant (a): a generator, pulled for each message. The signal ends the wait when the client disconnects. */
async function * tenMessages ({ signal }: SourceContext): AsyncGenerator<Message> {
  for (let n = 1; n <= TOTAL; n++) {
    if (n > 1) await sleep(INTERVAL, undefined, { signal })
    yield message(n)
  }
}

/**
 * Variant (b): a background producer that knows nothing of HTTP. `push` waits until the queue has room, and resolves to
 * false if the reader has left. Resolves to the number of messages that were pushed.
 */
export async function produce (queue: EventQueue<typeof events>): Promise<number> {
  let pushed = 0
  while (pushed < TOTAL && await queue.push(message(pushed + 1))) {
    pushed++
    // Ends early when the client disconnects: the next push then resolves to false.
    if (pushed < TOTAL) await sleep(INTERVAL, undefined, { signal: queue.signal }).catch(() => {})
  }
  queue.end()
  return pushed
}

/** `GET /sse`: ten messages from a generator, then the server closes. A browser reconnects and gets them again. */
export async function generated (app: FastifyInstance): Promise<void> {
  app.get('/sse', { schema: { sse: events } }, (_request, reply) => reply.sse(tenMessages))
}

/** `GET /sse/once`: the same, but a browser that received all ten gets 204 and does not reconnect. */
export async function generatedOnce (app: FastifyInstance): Promise<void> {
  app.get('/sse/once', { schema: { sse: events } }, (_request, reply) => reply.sse(tenMessages, { finite: true }))
}

/** `GET /sse/queue`: the same ten messages from a background producer. */
export async function queued (app: FastifyInstance): Promise<void> {
  app.get('/sse/queue', { schema: { sse: events } }, (request, reply) => {
    const queue = new EventQueue<typeof events>()
    produce(queue).then(pushed => request.log.info({ pushed }, 'producer stopped'))
    return reply.sse(queue)
  })
}

/** All three routes, and the page that shows them. */
export default async function seed (app: FastifyInstance): Promise<void> {
  await app.register(generated)
  await app.register(generatedOnce)
  await app.register(queued)
  page(app, '/seed', new URL('page.html', import.meta.url))
}
