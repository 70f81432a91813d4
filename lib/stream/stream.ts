import type { FastifyReply } from 'fastify'
import { resolveSubscriptions } from '../channel/resolved-subscription.ts'
import { Subscriber } from '../channel/subscriber.ts'
import type { Contract } from '../contract/contract.ts'
import type { CloseReason, Lifecycle } from '../lifecycle.ts'
import { Pump } from '../source/pump.ts'
import { StreamContext, dispose, type SourceDriver, type ChannelSource, type ChannelLag } from '../source/source.ts'
import type { WireFormat } from '../wire/format.ts'
import { END_ID } from '../wire/protocol.ts'
import { ArrayWriter } from './array-writer.ts'
import { Failures } from './failures.ts'
import type { Negotiated, Representation } from './formats.ts'
import { sessionOf } from './http2-sessions.ts'
import { LifetimePolicy } from './lifetime-policy.ts'
import type { ResolvedOptions } from './options.ts'
import type { StreamRegistry } from './registry.ts'
import { ResponseHead } from './response-head.ts'
import { StreamRecord, type CountedRoute } from './stream-record.ts'
import { Writer } from './writer.ts'

export interface StreamSetup {
  reply: FastifyReply
  options: ResolvedOptions
  route: CountedRoute & { readonly contract: Contract }
  lifecycle: Lifecycle
  streams: StreamRegistry<Stream>
  negotiated: Negotiated
  /** The key of `limits.maxStreamsPerKey`. */
  key: string | undefined
  /** A response without a body is no stream: it has no frames, no counters and no `onClose`. */
  bodiless: boolean
  /** Whether the handler is wrapped, so that Fastify gets neither its result nor its error. */
  wrapped: boolean
}

/**
 * One open response, from `reply.sse` to its close. It ends once, with one reason.
 *
 * A driver reads the source: a pump pulls events, a subscriber gets frames from channels. Both write to the writer. The
 * source runs before anything is sent. Its first event, or `flushHeadersAfter`, sends the head and opens the writer on
 * the response.
 */
export class Stream {
  /** Settles when the response is closed, for any reason. */
  readonly over: Promise<void>
  /** The source with which the stream was started. */
  source: unknown
  /** Its index in the registry. */
  index = -1
  readonly reply: FastifyReply
  readonly response: FastifyReply['raw']
  readonly options: ResolvedOptions
  readonly contract: Contract
  readonly representation: Representation
  /** The milliseconds that a JSON array of channels waits for its first event. */
  readonly wait: number
  readonly lifecycle: Lifecycle
  readonly record: StreamRecord
  readonly writer: Writer
  readonly head: ResponseHead
  driver: SourceDriver | undefined
  bodiless: boolean
  readonly wrapped: boolean
  readonly #streams: StreamRegistry<Stream>
  readonly #lifetime: LifetimePolicy | undefined
  #settle!: () => void

  constructor ({ reply, options, route, negotiated, lifecycle, streams, key, bodiless, wrapped }: StreamSetup) {
    this.over = new Promise(resolve => { this.#settle = resolve })
    this.reply = reply
    this.response = reply.raw
    this.options = options
    this.contract = route.contract
    this.representation = negotiated.representation
    this.wait = negotiated.wait
    this.lifecycle = lifecycle
    this.bodiless = bodiless
    this.wrapped = wrapped
    this.#streams = streams
    this.record = new StreamRecord({ reply, route, key, time: streams, counted: !bodiless })
    this.#lifetime = options.maxLifetime > 0 || options.reauthorize !== undefined
      ? new LifetimePolicy(options, this.record, this)
      : undefined
    this.writer = this.representation.isArray ? new ArrayWriter(this) : new Writer(this)
    this.head = new ResponseHead(this)
    lifecycle.scope = this.record.scope
    lifecycle.unexpectedReason = 'error'
    lifecycle.stream = this
    streams.add(this)
  }

  /** Made for each failure: it has no state. */
  get failures (): Failures { return new Failures(this) }
  get wire (): WireFormat { return this.representation.wire }
  get events (): number { return this.writer.events }
  get bytes (): number { return this.writer.bytes }
  /** Whether the error handlers own the reply. */
  get abandoned (): boolean { return this.head.released }
  get compresses (): boolean { return this.options.compress ?? this.driver?.compress ?? false }
  get stalled (): boolean { return !this.writer.hasRoom() }
  get lastEventId (): string | undefined { return this.driver?.lastEventId ?? this.record.lastEventId }
  get channelLags (): ChannelLag[] { return this.driver?.channelLags ?? [] }

  start (source: unknown): void {
    this.source = source
    if (this.lifecycle.reason !== undefined) {
      // The client disconnected before there was a stream, during a slow hook.
      dispose(source)
      return this.closed()
    }
    const pump = this.driver = new Pump(this.writer)
    pump.start(source, new StreamContext(this.lifecycle, this.#streams.signal, this.record.lastEventId))
    this.head.start()
  }

  /** Replaces the pump: the source is a list of channels (C4). */
  subscribe (channels: Array<ChannelSource<unknown>>): void {
    const subscriptions = resolveSubscriptions(channels, this.contract)
    if (subscriptions.length === 0) return this.respondNoContent()
    const subscriber = this.driver = new Subscriber(subscriptions, this.writer)
    subscriber.start(this.record.lastEventId)
  }

  /** Ends the stream once: signal, source, last bytes, close. */
  end (reason: CloseReason, last = ''): void {
    if (!this.lifecycle.end(reason)) return
    const position = this.driver?.checkpoint?.() ?? ''
    this.driver?.stop()
    this.writer.end(position + last)
    // `server.close()` also waits for HTTP/2 sessions, which clients keep open: GOAWAY lets the other responses finish.
    if (reason === 'shutdown') sessionOf(this.response)?.close()
  }

  complete (): void {
    this.#endWith('complete', this.options.finite && !this.bodiless ? this.wire.control({ id: END_ID }) : '')
  }

  /** Ends the stream after its channels have ended. `failed`: one of them with an error. */
  channelEnded (failed: boolean): void { failed ? this.end('channel-ended') : this.#endWith('channel-ended', '') }

  /** Ends the stream without an error: with the event of the option `end`. */
  #endWith (reason: CloseReason, last: string): void {
    const { options: { end }, bodiless, lifecycle } = this
    if (end === undefined || bodiless || lifecycle.reason !== undefined) return this.end(reason, last)
    let event: unknown
    let frame = ''
    try {
      event = typeof end === 'function' ? this.record.scope.runInAsyncScope(end) : end
      frame = this.writer.frame(event)
    } catch (error) {
      if (!this.failures.omitsLast(error, event)) return
    }
    this.end(reason, frame + last)
  }

  /** Ends the stream of a client for which there is no event, or that has every event of a channel that ended (R7). */
  respondNoContent (): void {
    if (this.head.setNoContent()) this.bodiless = true
    this.end('channel-ended')
  }

  /** Ends the stream as `revoked`. */
  revoke (reason?: string): void { this.failures.revoke(reason) }

  /**
   * Ends the stream because the server closes. `delay`: the client's reconnection delay in milliseconds, if it gets
   * one.
   */
  shutdown (delay: number | undefined): void {
    this.driver?.flush?.()
    this.end('shutdown',
      delay === undefined || this.bodiless
        ? ''
        : this.wire.control({ retry: Math.ceil((this.options.retry ?? 0) + delay) }))
  }

  /** Cuts the connection of a client that does not read the end. */
  destroy (): void {
    const session = sessionOf(this.response)
    this.response.destroy()
    if (session !== undefined && this.#streams.signal.aborted) this.#streams.sessions.cut(session)
    // A response behind a pipelined predecessor that never ends emits no close event.
    if (this.response.socket === null) this.lifecycle.closed()
  }

  /** Called by the shared timer. */
  tick (now: number): void {
    this.#lifetime?.tick(now)
    this.driver?.tick?.(now)
    this.writer.tick(now)
  }

  /** Called when the writer is open on the response. */
  opened (): void {
    this.driver?.opened?.()
    const { onOpen } = this.options
    if (onOpen === undefined || this.bodiless) return
    this.record.notify({ lastEventId: this.reply.request.lastEventId }, onOpen)
  }

  /** Called when the response is closed or its connection is gone. */
  closed (): void {
    this.driver?.stop()
    this.head.commit()
    this.#streams.delete(this)
    const report = this.record.close(this.lifecycle.reason!, this)
    const { onClose } = this.options
    if (onClose !== undefined && !this.bodiless) this.record.notify(report, onClose)
    this.#settle()
  }
}
