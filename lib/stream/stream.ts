import type { FastifyReply } from 'fastify'
import { Account, type Counted } from './stream-record.ts'
import { Body, takeOver } from './reply-body.ts'
import { Callbacks } from './callbacks.ts'
import type { Chunk } from '../channel/frame-batch.ts'
import { encodeControl, encodePositionFrame, HEARTBEAT } from '../wire/encode.ts'
import { FST_SSE_REVOKED } from '../errors.ts'
import type { AnyEvent, Contract } from '../contract/contract.ts'
import { Following, subscribedTo } from '../channel/subscriber.ts'
import { Head } from './response-head.ts'
import { END_ID } from '../wire/last-event-id.ts'
import type { CloseReason, Life } from '../lifecycle.ts'
import type { ResolvedOptions } from './options.ts'
import { Pump } from '../source/pump.ts'
import { Context, dispose, type Driver, type Followable, type Place } from '../source/source.ts'
import { sessionOf } from './http2-sessions.ts'
import type { Streams } from './registry.ts'
import { Term } from './lifetime-policy.ts'
import { errorOf, isAbort } from '../thrown.ts'
import { Writer } from './writer.ts'

// How long who comes back waits for the word on whether there is anything to come.
const VERDICT = 1_000

export interface StreamSetup {
  reply: FastifyReply
  options: ResolvedOptions
  route: Counted & { readonly contract: Contract }
  life: Life
  streams: Streams<Stream>
  /** What it is counted by among the others. */
  key: string | undefined
  /** A response without a body is no stream: nothing to mark, nobody to tell. */
  bodiless: boolean
}

/**
 * One open response: a driver that reads the source (a pump pulls events, a following has frames from channels), a writer that writes to the
 * client, and between them the beginning and the end. It ends once, with one reason. Its way: the first `next()` runs before anything is sent;
 * its value (or `commitDelay`) commits the stream: the writer is opened on the response. `reply.send(body)` does that where hooks are to see the body.
 */
export class Stream {
  /** Settles when the response is closed, whatever happened. */
  readonly over: Promise<void>
  /** What it was started with. */
  source: unknown
  /** Its place among the open streams. */
  seat = -1
  /** Events that were written. */
  events = 0
  readonly response: FastifyReply['raw']
  readonly options: ResolvedOptions
  readonly account: Account
  readonly #reply: FastifyReply
  readonly #callbacks: Callbacks
  readonly #contract: Contract
  readonly #life: Life
  readonly #streams: Streams<Stream>
  readonly #head: Head
  readonly #writer: Writer
  #driver: Driver | undefined
  readonly #term: Term | undefined
  #settle!: () => void
  #bodiless: boolean

  constructor ({ reply, options, route, life, streams, key, bodiless }: StreamSetup) {
    this.over = new Promise(resolve => { this.#settle = resolve })
    this.#reply = reply
    this.response = reply.raw
    this.options = options
    this.#contract = route.contract
    this.#life = life
    this.#streams = streams
    this.#bodiless = bodiless
    this.account = new Account({ reply, route, key, time: streams, counts: !bodiless })
    life.scope = this.account.scope
    this.#callbacks = new Callbacks(reply, options, route.contract, this.scope)
    this.#term = options.maxLifetime > 0 || options.revalidate !== undefined ? new Term(options, this.account, this) : undefined
    this.#writer = new Writer(this)
    this.#head = new Head(reply, this)
    life.unforeseen = 'error'
    life.stream = this
    streams.add(this)
  }

  get scope (): Account['scope'] { return this.account.scope }
  get bytes (): number { return this.#writer.bytes }
  get abandoned (): boolean { return this.#head.released }
  get stalled (): boolean { return !this.#writer.hasRoom }
  get lastEventId (): string | undefined { return this.#driver?.lastEventId ?? this.account.lastEventId }
  get places (): Place[] { return this.#driver?.places ?? [] }

  start (source: unknown): void {
    this.source = source
    const life = this.#life
    if (life.reason !== undefined) {
      // The client left before there was a stream, during a slow hook.
      dispose(source)
      return this.closed()
    }
    const pump = this.#driver = new Pump(this)
    pump.start(source, new Context(life, this.#streams.signal, this.account.lastEventId))
    this.#head.arm(this.options.commitDelay, this.#showLife)
  }

  /** The first event takes its time: show `onopen` and the proxies that somebody is there. */
  readonly #showLife = (): void => {
    // Who comes back may have to be told that there is nothing to come, which only a head can say.
    const left = this.account.lastEventId !== undefined && this.#driver?.decided === false ? VERDICT - this.account.age : 0
    if (left > 0) this.#head.arm(left, this.#showLife)
    else if (this.#writer.isEmpty) this.#writer.append(HEARTBEAT)
  }

  /** Ends the stream once: signal, source, last bytes, close. */
  end (reason: CloseReason, last = ''): void {
    if (!this.#life.end(reason)) return
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
    if (this.response.socket === null) this.#life.closed()
  }

  /** The server closes. The client comes back in so many milliseconds, if it is told. */
  shutdown (delay: number | undefined): void {
    this.#driver?.flush?.()
    this.end('shutdown', delay === undefined || this.#bodiless ? '' : encodeControl({ retry: Math.ceil((this.options.retry ?? 0) + delay) }))
  }

  /** It is no longer permitted, and the client is told why. */
  revoke (why = 'it is no longer permitted'): void {
    if (this.#life.reason === undefined) this.#fail(new FST_SSE_REVOKED(why), 'revoked')
  }

  /** The shared timer's beat. */
  tick (now: number): void {
    this.#term?.tick(now)
    this.#driver?.tick?.(now)
    this.#writer.tick(now)
  }

  resume (): void { this.#driver?.pull() }
  heartbeat (): string { return this.#driver?.checkpoint?.() || HEARTBEAT }
  wants (): boolean { return this.#writer.hasRoom }

  take (value: unknown, before = ''): boolean {
    let frame: string
    try {
      frame = this.#contract.frame(value)
      const { id, data } = value as AnyEvent
      if (id !== undefined) this.account.lastEventId = String(id)
      if (data !== undefined) this.events++
    } catch (error) {
      this.#refuse(error as Error, value)
      return false
    }
    this.#writer.append(before + frame)
    return true
  }

  /** Frames that somebody else made, of events that were checked when they were published. */
  write (frames: string | Chunk, events: number): void {
    this.events += events
    if (typeof frames === 'string') this.#writer.append(frames)
    else this.#writer.pass(frames)
  }

  /** The source is followed, not pulled (C4). */
  follow (channels: Array<Followable<unknown>>): void {
    const following = this.#driver = new Following(subscribedTo(channels, this.#contract), this)
    following.start(this.account.lastEventId)
  }

  /** What the client asks for is over, and it has all of it: it is to stop asking (R7). */
  nothing (): void {
    if (!this.#head.committed && this.#writer.isEmpty) {
      this.#reply.code(204)
      this.#bodiless = true
    }
    this.end('ended')
  }

  ended (): void { this.end('ended') }
  lagging (): void { this.end('lagging') }

  done (): void { this.end('complete', this.options.once && !this.#bodiless ? encodePositionFrame(END_ID) : '') }

  failed (thrown: unknown): void {
    this.#fail(errorOf(thrown), 'error')
  }

  /** As an ordinary response, where nothing goes out yet; else as the last event. */
  #fail (error: Error, reason: 'error' | 'revoked'): void {
    if (!this.#head.committed && this.#writer.isEmpty) return this.#giveUp(error, reason)
    if (reason === 'error') this.account.complain(error, 'sse stream failed')
    this.end(reason, this.#callbacks.errorFrame(error))
  }

  /** Reports an error that the source throws after the end, unless it follows from the end or is a broken upload. */
  failedLate (thrown: unknown): void {
    if (!isAbort(thrown) && Object(this.account.request.raw.errored) !== thrown) this.account.complain(thrown, 'sse source failed after its stream was over')
  }

  /** An event that cannot be sent: the source is told, or it is left out. */
  #refuse (error: Error, event: unknown): void {
    try {
      if (this.#callbacks.choose(error, event) !== 'skip') this.#driver?.refuse(error)
    } catch (thrown) {
      this.#driver?.stop()
      this.failed(thrown)
    }
  }

  /** The handler threw after it had given us the source. */
  overruled (error: Error): void {
    this.#driver?.stop()
    if (this.#head.committed) this.failed(error)
    else this.#giveUp(error)
  }

  /** There is no stream: an ordinary error response instead. */
  #giveUp (error: Error, reason: CloseReason = 'error'): void {
    this.#driver?.stop()
    if (this.#life.end(reason)) this.account.failed(error)
    this.#head.sendError(error)
  }

  /** The first bytes are there: the head may go. */
  commit (): void {
    if (!this.#head.commit()) return
    const { retry, directWrites } = this.options
    if (retry !== undefined && !this.#bodiless) this.#writer.prepend(encodeControl({ retry }))
    try {
      if (directWrites && !this.#bodiless && this.#head.sendAlone()) takeOver(this.#reply, this.#writer)
      else this.#head.send(new Body(this.#writer, this.#reply, directWrites))
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
    const report = this.account.close(this.#life.reason!, this)
    if (!this.#bodiless) this.#callbacks.closed(report)
    this.#settle()
  }
}
