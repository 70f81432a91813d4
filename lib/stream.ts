import type { ServerResponse } from 'node:http'
import type { FastifyReply } from 'fastify'
import { Body } from './body.ts'
import { Callbacks } from './callbacks.ts'
import type { Chunk } from './channel/chunk.ts'
import { sessionOf } from './connection.ts'
import { encodeControl, HEARTBEAT } from './encode.ts'
import { isError, shown } from './errors.ts'
import type { AnyEvent, Contract } from './events.ts'
import { Following, subscribedTo } from './channel/following.ts'
import { Head } from './head.ts'
import type { CloseReason, Life } from './life.ts'
import type { ResolvedOptions } from './options.ts'
import { Pump } from './pump.ts'
import { Context, dispose, type Driver, type Followable } from './source.ts'
import type { Streams } from './streams.ts'
import { Writer } from './writer.ts'

// How long who comes back waits for the word on whether there is anything to come.
const VERDICT = 1_000

/** The id that marks the end of a finite stream; who brings it back has everything. */
export const END_ID = 'sse.end'

export interface StreamSetup {
  reply: FastifyReply
  options: ResolvedOptions
  contract: Contract
  life: Life
  streams: Streams
  /** A response without a body is no stream: nothing to mark, nobody to tell. */
  bodiless: boolean
}

/**
 * One open response: a driver that reads the source (a pump pulls events, a following has frames from channels), a writer
 * that writes to the client, and between them the beginning and the end. It ends once, with one reason. Its way: the first `next()` runs before anything is sent. Its value (or `commitDelay`) commits the stream:
 * `reply.send(body)` runs the onSend hooks and pipes the body, whose pipe opens the writer on the response.
 */
export class Stream {
  /** Settles when the response is closed, whatever happened. */
  readonly over: Promise<void>
  /** What it was started with. */
  source: unknown
  /** Its place among the open streams. */
  seat = -1
  readonly options: ResolvedOptions
  readonly #reply: FastifyReply
  readonly #callbacks: Callbacks
  readonly #contract: Contract
  readonly #life: Life
  readonly #streams: Streams
  readonly #head: Head
  readonly #writer: Writer
  #driver: Driver | undefined
  readonly #startedAt: number
  readonly #deadline: number
  #settle!: () => void
  #bodiless: boolean
  #events = 0
  #lastEventId: string | undefined

  constructor ({ reply, options, contract, life, streams, bodiless }: StreamSetup) {
    this.over = new Promise(resolve => { this.#settle = resolve })
    this.#reply = reply
    this.options = options
    this.#contract = contract
    this.#callbacks = new Callbacks(reply, options, contract)
    this.#life = life
    this.#streams = streams
    this.#startedAt = streams.now
    this.#bodiless = bodiless
    this.#lastEventId = reply.request.lastEventId
    this.#deadline = options.maxLifetime > 0 ? this.#startedAt + options.maxLifetime * (0.9 + Math.random() * 0.2) : Infinity
    this.#writer = new Writer(this)
    this.#head = new Head(reply, this)
    life.unforeseen = 'error'
    life.stream = this
    streams.add(this, options)
  }

  get response (): ServerResponse { return this.#reply.raw }

  get name (): string { return `${this.#reply.request.method} ${this.#reply.request.url}` }

  start (source: unknown): void {
    this.source = source
    const life = this.#life
    if (life.reason !== undefined) {
      // The client left before there was a stream, during a slow hook.
      dispose(source)
      this.closed()
      return
    }
    const pump = this.#driver = new Pump(this)
    pump.start(source, new Context(life, this.#lastEventId))
    this.#head.arm(this.options.commitDelay, this.#showLife)
  }

  /** The first event takes its time: show `onopen` and the proxies that somebody is there. */
  readonly #showLife = (): void => {
    // Who comes back may have to be told that there is nothing to come, which only a head can say.
    const left = this.#lastEventId !== undefined && this.#driver?.decided === false ? VERDICT - (this.#streams.now - this.#startedAt) : 0
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
    // A session that says goodbye waits for its client's, which a client that does not read never says.
    if (this.#life.reason === 'shutdown') sessionOf(this.response)?.destroy()
    const { raw } = this.#reply
    raw.destroy()
    // Behind a pipelined predecessor that never ends there is no close to wait for.
    if (raw.socket === null) this.#life.closed()
  }

  /** The shared timer's beat. */
  tick (now: number): void {
    if (now >= this.#deadline) this.end('lifetime')
    this.#writer.tick(now)
  }

  resume (): void { this.#driver?.pull() }
  heartbeat (): string { return this.#driver?.checkpoint?.() || HEARTBEAT }

  /** The client takes nothing. */
  stalled (): void {
    this.end('stalled')
    this.destroy()
  }

  wants (): boolean { return this.#writer.hasRoom }

  take (value: unknown, before = ''): boolean {
    let frame: string
    try {
      frame = this.#contract.frame(value)
      const { id, data } = value as AnyEvent
      if (id !== undefined) this.#lastEventId = String(id)
      if (data !== undefined) this.#events++
    } catch (error) {
      this.#refuse(error as Error, value)
      return false
    }
    this.#writer.append(before + frame)
    return true
  }

  /** Frames that somebody else made, of events that were checked when they were published. */
  write (frames: string | Chunk, events: number): void {
    this.#events += events
    if (typeof frames === 'string') this.#writer.append(frames)
    else this.#writer.pass(frames)
  }

  /** The source is followed, not pulled (C4). */
  follow (channels: Array<Followable<unknown>>): void {
    const following = this.#driver = new Following(subscribedTo(channels, this.#contract), this)
    following.start(this.#lastEventId)
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

  done (): void {
    this.end('complete', this.options.once && !this.#bodiless ? encodeControl({ id: END_ID }) : '')
  }

  failed (thrown: unknown): void {
    const error = isError(thrown) ? thrown : new Error(`The source threw ${shown(thrown)}`, { cause: thrown })
    if (this.#head.committed || !this.#writer.isEmpty) {
      this.#reply.log.error({ err: error }, 'sse stream failed')
      this.end('error', this.#callbacks.errorFrame(error))
    } else {
      this.#giveUp(error)
    }
  }

  /** An abort that follows from the end is no news; anything else that the source throws on its way out is. */
  failedLate (thrown: unknown): void {
    if (isError(thrown) && (thrown.name === 'AbortError' || (thrown as NodeJS.ErrnoException).code === 'ERR_STREAM_PREMATURE_CLOSE')) return
    this.#reply.log.error({ err: thrown }, 'sse source failed after its stream was over')
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
  #giveUp (error: Error): void {
    this.#driver?.stop()
    this.#life.end('error')
    this.#head.sendError(error)
  }

  /** The first bytes are there: the head may go. */
  commit (): void {
    if (!this.#head.commit()) return
    const { retry } = this.options
    if (retry !== undefined && !this.#bodiless) this.#writer.prepend(encodeControl({ retry }))
    try {
      this.#head.send(new Body(this.#writer, this.#reply, this.options.directWrites))
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
    const reason = this.#life.reason!
    if (reason === 'client') this.#reply.log.debug('sse client left')
    if (!this.#bodiless) {
      this.#callbacks.closed({
        reason,
        duration: this.#streams.now - this.#startedAt,
        events: this.#events,
        bytes: this.#writer.bytes,
        lastEventId: this.#driver?.lastEventId ?? this.#lastEventId
      })
    }
    this.#settle()
  }
}
