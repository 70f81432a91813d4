import { channel, type Channel } from 'node:diagnostics_channel'
import type { FastifyRequest } from 'fastify'
import type { CloseReport } from '../lifecycle.ts'
import type { Scope } from '../scope.ts'

/** What is told of a stream. `route` is its method and path as they were declared. */
interface StreamMessage { readonly request: FastifyRequest, readonly route: string }

/** What is published in `node:diagnostics_channel`, by the name of the channel. */
export interface Diagnostics {
  /** A handler called `reply.sse()`, and the stream was admitted. */
  'fastify-typed-sse:open': StreamMessage
  /** It is over; one for each `open`. */
  'fastify-typed-sse:close': StreamMessage & CloseReport
  /** A request for a stream was turned away. `soft`: as an empty stream, for an `EventSource` that would never come back after a status. */
  'fastify-typed-sse:reject': StreamMessage & { readonly reason: RejectReason, readonly retryable: boolean }
  /** This process published an event, and the log has it under that id. */
  'fastify-typed-sse:publish': { readonly channel: string, readonly event: string, readonly id: string }
  /** Consecutive events were written to the `subscribers` that wait at the end of the channel, `latency` milliseconds after this process had the first of them. */
  'fastify-typed-sse:deliver': { readonly channel: string, readonly epoch: string, readonly from: number, readonly to: number, readonly subscribers: number, readonly latency: number }
  /** A subscriber that did not read fast enough lost so many events, and was told; undefined where it loses the stream instead. `request`: that of a stream. */
  'fastify-typed-sse:drop': { readonly channel: string, readonly dropped: number | undefined, readonly request: FastifyRequest | undefined }
  /** A subscriber could not go on from its position, and was told. */
  'fastify-typed-sse:reset': { readonly channel: string, readonly reason: string, readonly request: FastifyRequest | undefined }
  /** A stream failed, or one of the user's functions did. It is in the log too. */
  'fastify-typed-sse:error': { readonly request: FastifyRequest, readonly error: unknown }
}

/** Why a request for a stream was turned away. */
export type RejectReason = 'maxStreams' | 'maxStreamsPerKey' | 'closing'

/** One of the channels, with the type of what it carries. Look at `hasSubscribers` before a message is made: nobody pays for what nobody hears. */
interface DiagnosticsChannel<M> extends Pick<Channel, 'hasSubscribers'> { publish: (message: M) => void }

const typedChannel = <N extends keyof Diagnostics>(name: N): DiagnosticsChannel<Diagnostics[N]> => channel(name) as DiagnosticsChannel<Diagnostics[N]>

export const diagnostics = {
  open: typedChannel('fastify-typed-sse:open'),
  close: typedChannel('fastify-typed-sse:close'),
  reject: typedChannel('fastify-typed-sse:reject'),
  publish: typedChannel('fastify-typed-sse:publish'),
  deliver: typedChannel('fastify-typed-sse:deliver'),
  drop: typedChannel('fastify-typed-sse:drop'),
  reset: typedChannel('fastify-typed-sse:reset'),
  error: typedChannel('fastify-typed-sse:error')
}

/** Publishes what a subscriber lost, in the scope of its own stream. A loop in this process has no request. */
export function tellOf<M extends object> (
  account: { readonly request: FastifyRequest, readonly scope: Scope } | undefined,
  to: DiagnosticsChannel<M & { readonly request: FastifyRequest | undefined }>,
  message: M
): void {
  const told = { ...message, request: account?.request }
  if (account === undefined) to.publish(told)
  else account.scope.runInAsyncScope(to.publish, to, told)
}
