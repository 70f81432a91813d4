import { Type } from '@sinclair/typebox'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import type { ChannelOptions } from 'fastify-typed-sse'
import { page } from '../page.ts'

// The messages that clients may send. The room sees them with the time.
const Params = Type.Object({ room: Type.String({ pattern: '^[a-z0-9-]{1,32}$' }) })
const Message = Type.Object({
  name: Type.String({ maxLength: 40, pattern: '\\S' }),
  text: Type.String({ maxLength: 1000, pattern: '\\S' })
})

export const events = {
  message: Type.Object({ ...Message.properties, at: Type.Integer({ description: 'Milliseconds since 1970' }) })
}

/** A client that joins gets the history: the last hundred messages of the last hour. */
export const options = {
  events,
  start: 'earliest',
  history: { maxEvents: 100, maxAge: 3_600_000 }
} satisfies ChannelOptions<typeof events>

/**
 * `GET /chat/:room/events` joins a room, `POST /chat/:room/messages` sends a message to it. A real chat checks
 * permissions.
 */
export default async function chat (app: FastifyInstance): Promise<void> {
  // Looked up at each use: an unused room is removed from memory.
  const channelOf = (room: string) => app.sse.channel(`chat:${room}`, options)
  const typed = app.withTypeProvider<TypeBoxTypeProvider>()

  typed.get('/chat/:room/events', { schema: { params: Params, sse: events } }, (request, reply) => {
    return reply.sse(channelOf(request.params.room))
  })

  typed.post('/chat/:room/messages', {
    schema: { params: Params, body: Message, response: { 201: Type.Object({ id: Type.String() }) } }
  }, async (request, reply) => {
    const id = await channelOf(request.params.room).publish({ data: { ...request.body, at: Date.now() } })
    return reply.code(201).send({ id })
  })
  page(app, '/chat', new URL('page.html', import.meta.url))
}
