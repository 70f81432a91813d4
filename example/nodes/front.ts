import { Type } from '@sinclair/typebox'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import sse from 'fastify-typed-sse'
import { page } from '../page.ts'
import type { Keeper } from './keeper.ts'
import { roundRobin } from './proxy.ts'

const Process = Type.Object({ name: Type.String(), up: Type.Boolean(), pid: Type.Optional(Type.Integer()) })

export const events = { process: Process }

/** What stands before the nodes: the page, the state of the processes, the end of any of them, and the way to the next node. */
export async function build (nodes: readonly Keeper[], others: readonly Keeper[] = []): Promise<FastifyInstance> {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse, { retry: 500 })
  const keepers = [...nodes, ...others]
  const channel = app.sse.channel('processes', { events })
  const stateOf = ({ name, up, pid }: Keeper) => ({ event: 'process' as const, data: { name, up, ...(pid !== undefined && { pid }) } })
  for (const keeper of keepers) keeper.on('change', () => channel.publish(stateOf(keeper)).catch(() => {}))

  const typed = app.withTypeProvider<TypeBoxTypeProvider>()
  typed.get('/processes/events', { schema: { sse: events } }, (_request, reply) => reply.sse(channel.subscribe({
    snapshot: () => keepers.map(stateOf)
  })))

  typed.post('/processes/:name/kill', { schema: { params: Type.Object({ name: Type.String() }) } }, (request, reply) => {
    const keeper = keepers.find(({ name }) => name === request.params.name)
    if (keeper === undefined) return reply.callNotFound()
    keeper.kill()
    return reply.code(204).send()
  })

  const pass = roundRobin(() => nodes.flatMap(({ port }) => port ?? []))
  app.get('/ticks/*', (request, reply) => {
    reply.hijack()
    pass(request.raw, reply.raw)
  })
  page(app, '/', new URL('page.html', import.meta.url))
  page(app, '/page.css', new URL('../page.css', import.meta.url))
  return app
}
