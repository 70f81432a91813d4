import { Type } from '@sinclair/typebox'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { presenceEvents, type ChannelOptions } from 'fastify-typed-sse'
import { page } from '../page.ts'

// A real service takes the name from the session: here, a client may take any.
const Name = Type.String({ minLength: 1, maxLength: 40, pattern: '^[^\\p{Cc}]*\\S[^\\p{Cc}]*$' })
const Params = Type.Object({ document: Type.String({ pattern: '^[a-z0-9-]{1,32}$' }) })
const Visitor = Type.Object({ name: Name })

export const events = { wave: Visitor }

export const options = { events } satisfies ChannelOptions<typeof events>

/**
 * `GET /presence/:document/events` opens a document under a name, and streams its visitors and their waves.
 * `POST /presence/:document/waves` waves. With a shared event log, the visitors of all nodes see each other.
 */
export default async function presence (app: FastifyInstance): Promise<void> {
  const channelOf = (document: string) => app.sse.channel(`document:${document}`, options)
  const typed = app.withTypeProvider<TypeBoxTypeProvider>()

  typed.get('/presence/:document/events', {
    schema: { params: Params, querystring: Visitor, sse: { ...events, ...presenceEvents } }
  }, (request, reply) => {
    const channel = channelOf(request.params.document)
    return reply.sse([channel.subscribe({ as: request.query.name }), channel.presence])
  })

  typed.post('/presence/:document/waves', { schema: { params: Params, body: Visitor } }, async (request, reply) => {
    await channelOf(request.params.document).publish({ event: 'wave', data: request.body })
    return reply.code(204).send()
  })
  page(app, '/presence', new URL('page.html', import.meta.url))
}
