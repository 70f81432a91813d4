import { channel, type Channel } from 'node:diagnostics_channel'
import type { FastifyRequest } from 'fastify'
import type { CloseReport } from '../lifecycle.ts'
import type { Scope } from '../scope.ts'

/** The fields of a message about a stream. `route`: method and path, as declared: `GET /orders/:id`. */
interface StreamMessage { readonly request: FastifyRequest, readonly route: string }

/** The messages in `node:diagnostics_channel`, by the name of the diagnostics channel. */
export interface Diagnostics {
  /** A handler called `reply.sse()`, and the stream was accepted. */
  'fastify-typed-sse:open': StreamMessage
  /** The stream is over. One message for each `open`. */
  'fastify-typed-sse:close': StreamMessage & CloseReport
  /**
   * A request for a stream was rejected. `retryable`: with an empty stream, because an `EventSource` does not reconnect
   * after an error status.
   */
  'fastify-typed-sse:reject': StreamMessage & { readonly reason: RejectReason, readonly retryable: boolean }
  /** This process published an event. The event log has stored it under `id`. */
  'fastify-typed-sse:publish': { readonly channel: string, readonly event: string, readonly id: string }
  /**
   * Consecutive events, with the offsets `from` to `to`, were written to the `subscribers` at the end of the channel.
   * `latency`: milliseconds since this process received the first of them.
   */
  'fastify-typed-sse:deliver': {
    readonly channel: string
    readonly epoch: string
    readonly from: number
    readonly to: number
    readonly subscribers: number
    readonly latency: number
  }
  /**
   * A slow consumer lost `dropped` events and received `sse.gap`, or the event of `systemEvent`. `dropped` is undefined
   * if its stream was ended instead. `request`: of the stream, undefined for a loop over a subscription.
   */
  'fastify-typed-sse:drop': {
    readonly channel: string
    readonly dropped: number | undefined
    readonly request: FastifyRequest | undefined
  }
  /**
   * A subscriber did not receive `merged` events, because later events of their keys replaced them: by its pace, or
   * because it is a slow consumer of a channel that compacts. `request`: as above.
   */
  'fastify-typed-sse:merge': {
    readonly channel: string
    readonly merged: number
    readonly request: FastifyRequest | undefined
  }
  /**
   * A subscriber could not resume from its position and received `sse.reset`, or the event of `systemEvent`. `request`:
   * as above.
   */
  'fastify-typed-sse:reset': {
    readonly channel: string
    readonly reason: string
    readonly request: FastifyRequest | undefined
  }
  /** A stream failed, or a function of the user failed. The error is also logged. */
  'fastify-typed-sse:error': { readonly request: FastifyRequest, readonly error: unknown }
}

/**
 * Why a request for a stream was rejected: `maxStreams` streams are open, `maxStreamsPerKey` streams of its key are
 * open, or the server is closing.
 */
export type RejectReason = 'maxStreams' | 'maxStreamsPerKey' | 'closing'

/**
 * A diagnostics channel with the type of its messages. Callers check `hasSubscribers` first: an unused channel costs
 * nothing.
 */
interface DiagnosticsChannel<M> extends Pick<Channel, 'hasSubscribers'> { publish: (message: M) => void }

const typedChannel = <N extends keyof Diagnostics>(name: N): DiagnosticsChannel<Diagnostics[N]> =>
  channel(name) as DiagnosticsChannel<Diagnostics[N]>

export const diagnostics = {
  open: typedChannel('fastify-typed-sse:open'),
  close: typedChannel('fastify-typed-sse:close'),
  reject: typedChannel('fastify-typed-sse:reject'),
  publish: typedChannel('fastify-typed-sse:publish'),
  deliver: typedChannel('fastify-typed-sse:deliver'),
  drop: typedChannel('fastify-typed-sse:drop'),
  merge: typedChannel('fastify-typed-sse:merge'),
  reset: typedChannel('fastify-typed-sse:reset'),
  error: typedChannel('fastify-typed-sse:error')
}

/** Publishes a message about a subscriber in the scope of its stream. A loop over a subscription has no request. */
export function publishForSubscriber<M extends object> (
  record: { readonly request: FastifyRequest, readonly scope: Scope } | undefined,
  target: DiagnosticsChannel<M & { readonly request: FastifyRequest | undefined }>,
  message: M
): void {
  const complete = { ...message, request: record?.request }
  if (record === undefined) target.publish(complete)
  else record.scope.runInAsyncScope(target.publish, target, complete)
}
