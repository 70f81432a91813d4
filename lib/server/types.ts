import type { FastifyTypeProvider } from 'fastify'
import type { AnyEvent, EventMap, EventOfPayloads, EventSchema } from '../contract/event-types.ts'
import type { SseServer } from './sse-server.ts'
import type { StreamOptions } from '../stream/options.ts'
import type { SseSource } from '../source/source.ts'

/** The type of a payload, by the route's type provider if it has one, else by TypeBox itself. */
type Payload<S, TypeProvider> = TypeProvider extends FastifyTypeProvider
  ? unknown extends (TypeProvider & { schema: S })['serializer']
    ? S extends EventSchema ? (S & { params: [] })['static'] : unknown
    : (TypeProvider & { schema: S })['serializer']
  : unknown

/** The events that a route may send: the events of its `schema.sse`, or any event if it has none. */
export type RouteEvent<SchemaCompiler, TypeProvider> = SchemaCompiler extends { sse: infer M extends EventMap }
  ? EventOfPayloads<{ [K in keyof M]: Payload<M[K], TypeProvider> }>
  : AnyEvent

declare module 'fastify' {
  interface FastifySchema {
    /**
     * The events of this route: name → TypeBox schema of `data`. Each event is checked against it and serialized by it.
     */
    sse?: EventMap
  }

  interface FastifyInstance {
    /** The channels of this server, and its open streams. */
    readonly sse: Pick<SseServer, 'channel' | 'find' | 'shutdownSignal' | 'stats' | 'streams' | 'disconnect' | 'drain'>
  }

  interface FastifyRequest {
    /**
     * The position of a resuming client: the `Last-Event-ID` header, else the query parameter `lastEventId`. It proves
     * no permission.
     */
    readonly lastEventId: string | undefined
  }

  // The two declarations merge only if the eight names are equal to Fastify's own.
  interface FastifyReply<RouteGeneric, RawServer, RawRequest, RawReply, ContextConfig, SchemaCompiler, TypeProvider,
    ReplyType> {
    /**
     * Answers with a stream of Server-Sent Events (WHATWG HTML §9.2) read from the source.
     * The promise settles when the stream is over. Return it from the handler.
     */
    sse (
      source: SseSource<RouteEvent<SchemaCompiler, TypeProvider>>,
      options?: StreamOptions<RouteEvent<SchemaCompiler, TypeProvider>>
    ): Promise<void>
  }
}
