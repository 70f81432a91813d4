import type { FastifyTypeProvider } from 'fastify'
import type { DataOf, SelfTyped } from '../contract/data-type.ts'
import type { AnyEvent, EventMap, EventOfPayloads } from '../contract/event-types.ts'
import type { SseServer } from './sse-server.ts'
import type { StreamOptions } from '../stream/options.ts'
import type { SseSource } from '../source/source.ts'

/**
 * The type of a payload: of the schema itself if it has one, else by the route's type provider, else by the keywords of
 * the schema. A provider describes the schemas of its own library, but does not recognize all others.
 */
type Payload<S, TypeProvider> = S extends SelfTyped ? DataOf<S>
  : TypeProvider extends FastifyTypeProvider
    ? unknown extends (TypeProvider & { schema: S })['serializer'] ? DataOf<S>
      : (TypeProvider & { schema: S })['serializer']
    : DataOf<S>

/** The events that a route may send: of `Sse` in its type arguments, else of its `schema.sse`, else any event. */
export type RouteEvent<SchemaCompiler, TypeProvider, RouteGeneric = unknown> =
  RouteGeneric extends { Sse: infer M extends EventMap } ? EventsOf<M, TypeProvider>
    : SchemaCompiler extends { sse: infer M extends EventMap } ? EventsOf<M, TypeProvider> : AnyEvent

type EventsOf<M, TypeProvider> = EventOfPayloads<{ [K in keyof M]: Payload<M[K], TypeProvider> }>

declare module 'fastify' {
  interface FastifySchema {
    /**
     * The events of this route: name → schema of `data`, of TypeBox, of a library with Standard Schema, or a JSON
     * Schema. Each event is checked against it and serialized by it.
     */
    sse?: EventMap
  }

  interface RouteGenericInterface {
    /**
     * The type of `schema.sse`, beside other type arguments: `app.get<{ Params: …, Sse: typeof events }>`. It also
     * types the reply of a handler that is declared apart: `FastifyReply<{ Sse: typeof events }>`.
     */
    Sse?: EventMap
  }

  interface FastifyInstance {
    /** The channels of this server, and its open streams. */
    readonly sse: Pick<SseServer, 'channel' | 'channelFamily' | 'runs' | 'find' | 'locate' | 'shutdownSignal' | 'stats'
      | 'channels' | 'streams' | 'disconnect' | 'drain'>
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
      source: SseSource<RouteEvent<SchemaCompiler, TypeProvider, RouteGeneric>>,
      options?: StreamOptions<RouteEvent<SchemaCompiler, TypeProvider, RouteGeneric>>
    ): Promise<void>
  }
}
