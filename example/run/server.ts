import { Type } from '@sinclair/typebox'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import type { ChannelOptions, PublishedOf } from 'fastify-typed-sse'
import { page } from '../page.ts'
import { generate, type Generate } from '../tokens/model.ts'

const LIMIT = 1000
// Slow enough to reload the page in the middle.
const PACE = 250

// The ids are the clients' to make, and nobody guesses them. A real service asks, too, whose run it is.
const Params = Type.Object({ id: Type.String({ format: 'uuid' }) })
const Body = Type.Object({ prompt: Type.String({ minLength: 1, maxLength: 2000 }) })

export const events = {
  prompt: Type.String(),
  token: Type.String(),
  done: Type.Object({ reason: Type.Union([Type.Literal('complete'), Type.Literal('stopped')]) })
}

/** Who comes late gets all of it: there is room for the longest run, and for ten minutes. */
export const channelOptions = { events, start: 'oldest', history: { events: LIMIT + 2, age: 600_000 } } satisfies ChannelOptions<typeof events>

async function * transcript (prompt: string, tokens: AsyncIterable<string>): AsyncGenerator<PublishedOf<typeof events>> {
  yield { event: 'prompt', data: prompt }
  for await (const token of tokens) yield { event: 'token', data: token }
  yield { event: 'done', data: { reason: 'complete' } }
}

/**
 * A generation that outlives its client. `POST /runs/:id` starts it, or joins the one that is there, `GET /runs/:id`
 * follows it from the beginning or from where the client was, `DELETE /runs/:id` stops it.
 */
export default async function run (app: FastifyInstance, options: { generate?: Generate }): Promise<void> {
  const model = options.generate ?? generate
  // A real service has its runs in a database. A channel is made by asking for it: not for every id that a client makes up.
  const runs = new Set<string>()
  const runOf = (id: string) => app.sse.channel(`run:${id}`, channelOptions)
  const typed = app.withTypeProvider<TypeBoxTypeProvider>()

  typed.post('/runs/:id', { schema: { params: Params, body: Body, sse: events } }, (request, reply) => {
    const { id } = request.params
    const run = runOf(id)
    const { prompt } = request.body
    if (!runs.has(id)) {
      runs.add(id)
      // Once for each id, however often it is asked for; the signal is the run's, not this request's.
      run.consume(({ signal }) => transcript(prompt, model(prompt, { limit: LIMIT, signal, pace: PACE }))).catch(() => {}).finally(() => {
        setTimeout(() => runs.delete(id), channelOptions.history.age).unref()
      })
    }
    return reply.sse(run)
  })

  typed.get('/runs/:id', { schema: { params: Params, sse: events } }, (request, reply) => {
    const { id } = request.params
    return runs.has(id) ? reply.sse(runOf(id)) : reply.callNotFound()
  })

  typed.delete('/runs/:id', { schema: { params: Params } }, async (request, reply) => {
    const { id } = request.params
    if (!runs.has(id)) return reply.callNotFound()
    const run = runOf(id)
    const { ended } = await run.head()
    if (!ended) {
      run.publish({ event: 'done', data: { reason: 'stopped' } })
      await run.end()
    }
    return reply.code(204).send()
  })
  page(app, '/run', new URL('page.html', import.meta.url))
}
