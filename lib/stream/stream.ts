import type { FastifyReply } from 'fastify'
import { StreamRecord, type CountedRoute } from './stream-record.ts'
import { ReplyBody, writeWithoutReply } from './reply-body.ts'
import { Callbacks } from './callbacks.ts'
import type { FrameBatch } from '../channel/frame-batch.ts'
import { encodeControl, encodePositionFrame, HEARTBEAT } from '../wire/encode.ts'
import { FST_SSE_REVOKED } from '../errors.ts'
import type { Contract } from '../contract/contract.ts'
import type { AnyEvent } from '../contract/event-types.ts'
import { Subscriber, resolveSubscriptions } from '../channel/subscriber.ts'
import { ResponseHead } from './response-head.ts'
import { END_ID } from '../wire/protocol.ts'
import type { CloseReason, Lifecycle } from '../lifecycle.ts'
import type { ResolvedOptions } from './options.ts'
import { Pump } from '../source/pump.ts'
import { StreamContext, dispose, type SourceDriver, type ChannelSource, type ChannelLag } from '../source/source.ts'
import { sessionOf } from './http2-sessions.ts'
import type { StreamRegistry } from './registry.ts'
import { LifetimePolicy } from './lifetime-policy.ts'
import { toError, isAbortError } from '../thrown-value.ts'
import { Writer } from './writer.ts'

// How long who comes back waits for the word on whether there is anything to come.
const RESUME_DECISION_TIMEOUT = 1_000

export interface StreamSetup {
  reply: FastifyReply
  options: ResolvedOptions
  route: CountedRoute & { readonly contract: Contract }
  lifecycle: Lifecycle
  streams: StreamRegistry<Stream>
  /** What it is counted by among the others. */
  key: string | undefined
  /** A response without a body is no stream: nothing to mark, nobody to tell. */
  bodiless: boolean
}

/**
 * One open response: a driver that reads the source (a pump pulls events, a following has frames from channels), a writer that writes to the
 * client, and between them the beginning and the end. It ends once, with one reason. Its way: the first `next()` runs before anything is sent;
 * its value (or `flushHeadersAfter`) commits the stream: the writer is opened on the response. `reply.send(body)` does that where hooks are to see the body.
 */
export class Stream {
  /** Settles when the response is closed, whatever happened. */
  readonly over: Promise<void>
  /** What it was started with. */
  source: unknown
  /** Its place among the open streams. */
  index = -1
  /** Events that were written. */
  events = 0
  readonly response: FastifyReply['raw']
  readonly options: ResolvedOptions
  readonly record: StreamRecord
  readonly #reply: FastifyReply
  readonly #callbacks: Callbacks
  readonly #contract: Contract
  readonly #lifecycle: Lifecycle
  readonly #streams: StreamRegistry<Stream>
  readonly #head: ResponseHead
  readonly #writer: Writer
  #driver: SourceDriver | undefined
  readonly #lifetime: LifetimePolicy | undefined
  #settle!: () => void
  #bodiless: boolean

  constructor ({ reply, options, route, lifecycle: life, streams, key, bodiless }: StreamSetup) {
    this.over = new Promise(resolve => { this.#settle = resolve })
    this.#reply = reply
    this.response = reply.raw
    this.options = options
    this.#contract = route.contract
    this.#lifecycle = life
    this.#streams = streams
    this.#bodiless = bodiless
    this.record = new StreamRecord({ reply, route, key, time: streams, counted: !bodiless })
    life.scope = this.record.scope
    this.#callbacks = new Callbacks(reply, options, route.contract, this.scope)
    this.#lifetime = options.maxLifetime > 0 || options.reauthorize !== undefined ? new LifetimePolicy(options, this.record, this) : undefined
    this.#writer = new Writer(this)
    this.#head = new ResponseHead(reply, this)
    life.unexpectedReason = 'error'
    life.stream = this
    streams.add(this)
  }

  get scope (): StreamRecord['scope'] { return this.record.scope }
  get bytes (): number { return this.#writer.bytes }
  get abandoned (): boolean { return this.#head.released }
  get stalled (): boolean { return !this.#writer.hasRoom }
  get lastEventId (): string | undefined { return this.#driver?.lastEventId ?? this.record.lastEventId }
  get places (): ChannelLag[] { return this.#driver?.channelLags ?? [] }

  start (source: unknown): void {
    this.source = source
    const life = this.#lifecycle
    if (life.reason !== undefined) {
      // The client left before there was a stream, during a slow hook.
      dispose(source)
      return this.closed()
    }
    const pump = this.#driver = new Pump(this)
    pump.start(source, new StreamContext(life, this.#streams.signal, this.record.lastEventId))
    this.#head.flushAfter(this.options.flushHeadersAfter, this.#flushHeadIfIdle)
  }

  /** The first event takes its time: show `onopen` and the proxies that somebody is there. */
  readonly #flushHeadIfIdle = (): void => {
    // Who comes back may have to be told that there is nothing to come, which only a head can say.
    const left = this.record.lastEventId !== undefined && this.#driver?.hasAnswer === false ? RESUME_DECISION_TIMEOUT - this.record.age : 0
    if (left > 0) this.#head.flushAfter(left, this.#flushHeadIfIdle)
    else if (this.#writer.isEmpty) this.#writer.append(HEARTBEAT)
  }

  /** Ends the stream once: signal, source, last bytes, close. */
  end (reason: CloseReason, last = ''): void {
    if (!this.#lifecycle.end(reason)) return
    const position = this.#driver?.checkpoint?.() ?? ''
    this.#driver?.stop()
    this.#writer.end(position + last)
    // The server's close waits for HTTP/2 sessions too, and a client keeps its own: GOAWAY lets the other responses finish.
    if (reason === 'shutdown') sessionOf(this.response)?.close()
  }

  /** Cuts the connection: for clients that do not take the end. */
  destroy (): void {
    const session = sessionOf(this.response)
    this.response.destroy()
    if (session !== undefined && this.#streams.signal.aborted) this.#streams.sessions.cut(session)
    // Behind a pipelined predecessor that never ends there is no close to wait for.
    if (this.response.socket === null) this.#lifecycle.closed()
  }

  /** The server closes. The client comes back in so many milliseconds, if it is told. */
  shutdown (delay: number | undefined): void {
    this.#driver?.flush?.()
    this.end('shutdown', delay === undefined || this.#bodiless ? '' : encodeControl({ retry: Math.ceil((this.options.retry ?? 0) + delay) }))
  }

  /** It is no longer permitted, and the client is told why. */
  revoke (why = 'it is no longer permitted'): void {
    if (this.#lifecycle.reason === undefined) this.#fail(new FST_SSE_REVOKED(why), 'revoked')
  }

  /** The shared timer's beat. */
  tick (now: number): void {
    this.#lifetime?.tick(now)
    this.#driver?.tick?.(now)
    this.#writer.tick(now)
  }

  resume (): void { this.#driver?.pull() }
  heartbeat (): string { return this.#driver?.checkpoint?.() || HEARTBEAT }
  hasRoom (): boolean { return this.#writer.hasRoom }

  write (value: unknown, before = ''): boolean {
    let frame: string
    try {
      frame = this.#contract.frame(value)
      const { id, data } = value as AnyEvent
      if (id !== undefined) this.record.lastEventId = String(id)
      if (data !== undefined) this.events++
    } catch (error) {
      this.#refuse(error as Error, value)
      return false
    }
    this.#writer.append(before + frame)
    return true
  }

  /** Frames that somebody else made, of events that were checked when they were published. */
  writeFrames (frames: string | FrameBatch, events: number): void {
    this.events += events
    if (typeof frames === 'string') this.#writer.append(frames)
    else this.#writer.writeShared(frames)
  }

  /** The source is followed, not pulled (C4). */
  subscribe (channels: Array<ChannelSource<unknown>>): void {
    const following = this.#driver = new Subscriber(resolveSubscriptions(channels, this.#contract), this)
    following.start(this.record.lastEventId)
  }

  /** What the client asks for is over, and it has all of it: it is to stop asking (R7). */
  respondNoContent (): void {
    if (!this.#head.committed && this.#writer.isEmpty) {
      this.#reply.code(204)
      this.#bodiless = true
    }
    this.end('channel-ended')
  }

  channelEnded (): void { this.end('channel-ended') }
  fellBehind (): void { this.end('lagging') }

  complete (): void { this.end('complete', this.options.finite && !this.#bodiless ? encodePositionFrame(END_ID) : '') }

  fail (thrown: unknown): void {
    this.#fail(toError(thrown), 'error')
  }

  /** As an ordinary response, where nothing goes out yet; else as the last event. */
  #fail (error: Error, reason: 'error' | 'revoked'): void {
    if (!this.#head.committed && this.#writer.isEmpty) return this.#giveUp(error, reason)
    if (reason === 'error') this.record.logError(error, 'sse stream failed')
    this.end(reason, this.#callbacks.errorFrame(error))
  }

  /** Reports an error that the source throws after the end, unless it follows from the end or is a broken upload. */
  failLate (thrown: unknown): void {
    if (!isAbortError(thrown) && Object(this.record.request.raw.errored) !== thrown) this.record.logError(thrown, 'sse source failed after its stream was over')
  }

  /** An event that cannot be sent: the source is told, or it is left out. */
  #refuse (error: Error, event: unknown): void {
    try {
      if (this.#callbacks.choose(error, event) !== 'skip') this.#driver?.rejectEvent(error)
    } catch (thrown) {
      this.#driver?.stop()
      this.fail(thrown)
    }
  }

  /** The handler threw after it had given us the source. */
  handlerFailed (error: Error): void {
    this.#driver?.stop()
    if (this.#head.committed) this.fail(error)
    else this.#giveUp(error)
  }

  /** There is no stream: an ordinary error response instead. */
  #giveUp (error: Error, reason: CloseReason = 'error'): void {
    this.#driver?.stop()
    if (this.#lifecycle.end(reason)) this.record.reportError(error)
    this.#head.sendError(error)
  }

  /** The first bytes are there: the head may go. */
  commit (): void {
    if (!this.#head.commit()) return
    const { retry, directWrites } = this.options
    if (retry !== undefined && !this.#bodiless) this.#writer.prepend(encodeControl({ retry }))
    try {
      if (directWrites && !this.#bodiless && this.#head.writeDirectly()) writeWithoutReply(this.#reply, this.#writer)
      else this.#head.send(new ReplyBody(this.#writer, this.#reply, directWrites))
    } catch (error) {
      // Outside the handler nobody else would catch it.
      this.#giveUp(error as Error)
    }
  }

  /** The connection is gone, or the response done. */
  closed (): void {
    this.#driver?.stop()
    this.#head.commit()
    this.#streams.delete(this)
    const report = this.record.close(this.#lifecycle.reason!, this)
    if (!this.#bodiless) this.#callbacks.closed(report)
    this.#settle()
  }
}
