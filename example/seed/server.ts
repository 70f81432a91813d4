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

/** Form (a): the stream asks a generator for each message. The signal ends the wait when the client leaves. */
async function * tenMessages ({ signal }: SourceContext): AsyncGenerator<Message> {
  for (let n = 1; n <= TOTAL; n++) {
    if (n > 1) await sleep(INTERVAL, undefined, { signal })
    yield message(n)
  }
}

/**
 * Form (b): a producer that works on its own and knows nothing of HTTP. `push` waits until the message is taken,
 * and says false when nobody is there to take it. Resolves to the number of messages handed over.
 */
export async function produce (queue: EventQueue<typeof events>): Promise<number> {
  let handed = 0
  while (handed < TOTAL && await queue.push(message(handed + 1))) {
    handed++
    // Cut short when the reader leaves: the next push says so.
    if (handed < TOTAL) await sleep(INTERVAL, undefined, { signal: queue.signal }).catch(() => {})
  }
  queue.end()
  return handed
}

/** `GET /sse`: ten messages from a generator, then the server closes. A browser comes back and gets them again. */
export async function generated (app: FastifyInstance): Promise<void> {
  app.get('/sse', { schema: { sse: events } }, (_request, reply) => reply.sse(tenMessages))
}

/** `GET /sse/once`: the same, but a browser that had all ten is told that there is no more. */
export async function generatedOnce (app: FastifyInstance): Promise<void> {
  app.get('/sse/once', { schema: { sse: events } }, (_request, reply) => reply.sse(tenMessages, { finite: true }))
}

/** `GET /sse/queue`: the same ten messages from a background producer. */
export async function queued (app: FastifyInstance): Promise<void> {
  app.get('/sse/queue', { schema: { sse: events } }, (request, reply) => {
    const queue = new EventQueue<typeof events>()
    produce(queue).then(handed => request.log.info({ handed }, 'producer stopped'))
    return reply.sse(queue)
  })
}

/** All three, and the page that shows them. */
export default async function seed (app: FastifyInstance): Promise<void> {
  await app.register(generated)
  await app.register(generatedOnce)
  await app.register(queued)
  page(app, '/seed', new URL('page.html', import.meta.url))
}
