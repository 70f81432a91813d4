import { Type } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import sse, { presenceEvents, type Presence, type ReceivedEventOf, type SystemEventReceived } from '../../lib/index.ts'
import { assertType, type Equal } from './equal.ts'

// Presence. Compiled, never run.

const app = Fastify()
app.register(sse)

const events = { edit: Type.Object({ text: Type.String() }) }
const room = app.sse.channel('room', { events, leaseDuration: 1_000 })
// @ts-expect-error a duration is a number
app.sse.channel('room', { leaseDuration: '1s' })

assertType<Equal<ReturnType<typeof room.members>, Promise<string[]>>>()
assertType<Equal<typeof room.presence, Presence>>()
const { presence } = room

// A route with all events, and one with a part of them.
app.get('/room', { schema: { sse: { ...events, ...presenceEvents } } }, (_request, reply) =>
  reply.sse([room.subscribe({ as: 'a' }), presence]))
app.get('/presence', { schema: { sse: presenceEvents } }, (_request, reply) => reply.sse(presence))
app.get('/free', (_request, reply) => reply.sse(presence.subscribe({ start: 'earliest' })))
app.get('/joins', { schema: { sse: { joined: Type.String() } } }, (_request, reply) => reply.sse(presence.subscribe({
  map: event => event.event === 'join' ? { event: 'joined', data: event.data.member } : null,
  snapshot: async () => (await room.members()).map(data => ({ event: 'joined', data }))
})))
// @ts-expect-error the route has other events
app.get('/edits', { schema: { sse: events } }, (_request, reply) => reply.sse(presence))
// @ts-expect-error a member is text
room.subscribe({ as: 7 })

for await (const event of presence.subscribe()) {
  assertType<Equal<typeof event, ReceivedEventOf<typeof presenceEvents> | SystemEventReceived<typeof presenceEvents>>>()
  if (event.event === 'members') assertType<Equal<typeof event.data, { members: string[] }>>()
  if (event.event === 'join' || event.event === 'leave') assertType<Equal<typeof event.data, { member: string }>>()
}

// @ts-expect-error only members publish
presence.publish({ event: 'join', data: { member: 'a' } })
// @ts-expect-error no program ends it
presence.end()
