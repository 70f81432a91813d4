import { Type } from '@sinclair/typebox'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import type { PublishEventOf, RunsOptions } from 'fastify-typed-sse'
import { page } from '../page.ts'
import { generate, type Generate } from '../tokens/model.ts'

const LIMIT = 1000
// Milliseconds between two tokens: slow enough to reload the page in the middle.
const INTERVAL = 250

// Clients choose the ids, which must be hard to guess. A real service first checks the owner of the run in its
// database.
const Params = Type.Object({ id: Type.String({ format: 'uuid' }) })
const Body = Type.Object({ prompt: Type.String({ minLength: 1, maxLength: 2000 }) })

export const events = {
  prompt: Type.String(),
  token: Type.String(),
  done: Type.Object({ reason: Type.Union([Type.Literal('complete'), Type.Literal('stopped')]) })
}

/** A late client gets the complete run: the history holds the longest run, for ten minutes. */
const runsOptions = {
  events,
  history: { maxEvents: LIMIT + 10, maxAge: 600_000 }
} satisfies RunsOptions<typeof events>

async function * transcript (
  prompt: string,
  tokens: AsyncIterable<string>
): AsyncGenerator<PublishEventOf<typeof events>> {
  yield { event: 'prompt', data: prompt }
  for await (const token of tokens) yield { event: 'token', data: token }
  yield { event: 'done', data: { reason: 'complete' } }
}

/**
 * A generation that outlives its client. `POST /runs/:id` starts it, or joins the existing one. `GET /runs/:id` streams
 * it from the beginning, or from the client's position. `DELETE /runs/:id` stops it. With a shared event log, each
 * request may go to any node.
 */
export default async function run (app: FastifyInstance, options: { generate?: Generate }): Promise<void> {
  const model = options.generate ?? generate
  const runs = app.sse.runs('run', runsOptions)
  const typed = app.withTypeProvider<TypeBoxTypeProvider>()

  typed.post('/runs/:id', { schema: { params: Params, body: Body, sse: events } }, async (request, reply) => {
    const { prompt } = request.body
    // The signal belongs to the run, not to this request.
    const { run } = await runs.start(request.params.id, ({ signal }) =>
      transcript(prompt, model(prompt, { limit: LIMIT, signal, interval: INTERVAL })))
    return reply.sse(run)
  })

  typed.get('/runs/:id', { schema: { params: Params, sse: events } }, async (request, reply) => {
    const run = await runs.get(request.params.id)
    return run === undefined ? reply.callNotFound() : reply.sse(run)
  })

  typed.delete('/runs/:id', { schema: { params: Params } }, async (request, reply) => {
    if (await runs.get(request.params.id) === undefined) return reply.callNotFound()
    await runs.stop(request.params.id, { event: 'done', data: { reason: 'stopped' } })
    return reply.code(204).send()
  })
  page(app, '/run', new URL('page.html', import.meta.url))
}
