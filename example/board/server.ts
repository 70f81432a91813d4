import { Type } from '@sinclair/typebox'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import type { ChannelOptions } from 'fastify-typed-sse'
import { page } from '../page.ts'
import { GROUPS, Market, type Quote } from './market.ts'

const Group = Type.Union(GROUPS.map(group => Type.Literal(group)))

export const events = {
  quote: Type.Object({ symbol: Type.String(), group: Group, price: Type.Number(), change: Type.Number() })
}

/** A page that fell behind gets `sse.gap`, then all quotes again. */
export const options = { events, slowConsumer: 'snapshot' } satisfies ChannelOptions<typeof events>

/** `GET /board/events`: all current quotes, then each new one. `?group=metals` selects a group. */
export default async function board (
  app: FastifyInstance,
  { market = new Market() }: { market?: Market }
): Promise<void> {
  const channel = app.sse.channel('board', options)
  // The market emits a change synchronously, so no snapshot can be taken between the change and its event.
  market.on('quote', data => channel.publish({ event: 'quote', data }))
  app.addHook('onReady', async () => market.open())
  app.addHook('onClose', async () => market.close())

  app.withTypeProvider<TypeBoxTypeProvider>().get('/board/events', {
    schema: { querystring: Type.Object({ group: Type.Optional(Group) }), sse: events }
  }, (request, reply) => {
    const { group } = request.query
    const inGroup = (quote: Quote): boolean => group === undefined || quote.group === group
    return reply.sse(channel.subscribe({
      // Without a filter, all clients share the frames.
      filter: group && (event => inGroup(event.data)),
      snapshot: () => [...market.quotes.values()].filter(inGroup).map(data => ({ event: 'quote', data }))
    }))
  })
  page(app, '/board', new URL('page.html', import.meta.url))
}
