import { Type } from '@sinclair/typebox'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import sse from 'fastify-typed-sse'
import { page } from '../page.ts'
import type { Supervisor } from './supervisor.ts'
import { roundRobin } from './proxy.ts'

const Process = Type.Object({ name: Type.String(), up: Type.Boolean(), pid: Type.Optional(Type.Integer()) })

export const events = { process: Process }

/**
 * The server in front of the nodes: the page, the states of the processes, a route to kill each, and the proxy to the
 * nodes.
 */
export async function build (
  nodes: readonly Supervisor[],
  others: readonly Supervisor[] = []
): Promise<FastifyInstance> {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse, { retry: 500 })
  const supervisors = [...nodes, ...others]
  const channel = app.sse.channel('processes', { events })
  const stateOf = ({ name, up, pid }: Supervisor) => ({
    event: 'process' as const,
    data: { name, up, ...(pid !== undefined && { pid }) }
  })
  for (const supervisor of supervisors) {
    supervisor.on('change', () => channel.publish(stateOf(supervisor)).catch(() => {}))
  }

  const typed = app.withTypeProvider<TypeBoxTypeProvider>()
  typed.get('/processes/events', { schema: { sse: events } }, (_request, reply) => reply.sse(channel.subscribe({
    snapshot: () => supervisors.map(stateOf)
  })))

  typed.post('/processes/:name/kill', { schema: { params: Type.Object({ name: Type.String() }) } },
    (request, reply) => {
      const supervisor = supervisors.find(({ name }) => name === request.params.name)
      if (supervisor === undefined) return reply.callNotFound()
      supervisor.kill()
      return reply.code(204).send()
    })

  const proxy = roundRobin(() => nodes.flatMap(({ port }) => port ?? []))
  app.get('/ticks/*', (request, reply) => {
    reply.hijack()
    proxy(request.raw, reply.raw)
  })
  page(app, '/', new URL('page.html', import.meta.url))
  page(app, '/page.css', new URL('../page.css', import.meta.url))
  return app
}
