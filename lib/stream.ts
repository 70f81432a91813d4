import type { Http2Session, Http2Stream } from 'node:http2'
import type { FastifyReply } from 'fastify'
import { Body } from './body.ts'
import { encodeControl, HEARTBEAT } from './encode.ts'
import { isError, shown } from './errors.ts'
import { freeContract, type AnyEvent, type Contract } from './events.ts'
import { Head } from './head.ts'
import type { CloseReason, Life } from './life.ts'
import type { ResolvedOptions } from './options.ts'
import { problemEvent } from './problem.ts'
import { Pump } from './pump.ts'
import { dispose } from './source.ts'
import type { Streams } from './streams.ts'
import { Writer } from './writer.ts'

/** The id that marks the end of a finite stream; who brings it back has everything. */
export const END_ID = 'sse.end'

export interface StreamSetup {
  reply: FastifyReply
  options: ResolvedOptions
  contract: Contract
  life: Life
  streams: Streams
}

/**
 * One open response: a pump that pulls from the source, a writer that writes to the client, and between them the
 * beginning and the end. It ends once, with one reason.
 *
 * Its way: the first `next()` runs before anything is sent. Its value (or `commitDelay`) commits the stream:
 * `reply.send(body)` runs the onSend hooks and pipes the body, whose pipe opens the writer on the response.
 */
export class Stream {
  /** Settles when the response is closed, whatever happened. */
  readonly over: Promise<void>
  /** What it was started with. */
  source: unknown
  readonly #reply: FastifyReply
  readonly #options: ResolvedOptions
  readonly #contract: Contract
  readonly #life: Life
  readonly #streams: Streams
  readonly #head: Head
  readonly #pump: Pump
  readonly #writer: Writer
  readonly #startedAt = performance.now()
  readonly #deadline: number
  #settle!: () => void
  #events = 0
  #lastEventId: string | undefined

  constructor ({ reply, options, contract, life, streams }: StreamSetup) {
    this.over = new Promise(resolve => { this.#settle = resolve })
    this.#reply = reply
    this.#options = options
    this.#contract = contract
    this.#life = life
    this.#streams = streams
    this.#lastEventId = reply.request.lastEventId
    this.#deadline = options.maxLifetime > 0 ? this.#startedAt + options.maxLifetime * (0.9 + Math.random() * 0.2) : Infinity
    this.#pump = new Pump(this)
    this.#writer = new Writer({
      response: reply.raw,
      options,
      commit: () => this.#commit(),
      resume: () => this.#pump.pull(),
      stalled: () => this.#stalled()
    })
    this.#head = new Head(reply, error => this.#overruled(error))
    life.unforeseen = 'error'
    life.onClose = () => this.#closed()
    streams.add(this, options)
  }

  start (source: unknown): void {
    this.source = source
    const life = this.#life
    if (life.reason !== undefined) {
      // The client left before there was a stream, during a slow hook.
      dispose(source)
      this.#closed()
      return
    }
    this.#pump.start(source, { get signal () { return life.signal }, lastEventId: this.#lastEventId })
    // The first event takes its time: show `onopen` and the proxies that somebody is there.
    this.#head.arm(this.#options.commitDelay, () => { if (this.#writer.isEmpty) this.#writer.append(HEARTBEAT) })
  }

  /** Ends the stream once: signal, source, last bytes, close. */
  end (reason: CloseReason, last = ''): void {
    if (!this.#life.end(reason)) return
    this.#pump.stop()
    this.#writer.end(last)
    // The server's close waits for HTTP/2 sessions too, and a client keeps its own: GOAWAY lets the other responses finish.
    if (reason === 'shutdown') this.#session()?.close()
  }

  /** Cuts the connection: for clients that do not take the end. */
  destroy (): void {
    // A session that says goodbye waits for its client's, which a client that does not read never says.
    if (this.#life.reason === 'shutdown') this.#session()?.destroy()
    const { raw } = this.#reply
    raw.destroy()
    // Behind a pipelined predecessor that never ends there is no close to wait for.
    if (raw.socket === null) this.#life.closed()
  }

  /** HTTP/2 only. */
  #session (): Pick<Http2Session, 'close' | 'destroy'> | undefined {
    return (this.#reply.raw as { stream?: Http2Stream }).stream?.session
  }

  /** The shared timer's beat. */
  tick (now: number): void {
    if (now >= this.#deadline) this.end('lifetime')
    this.#writer.tick(now)
  }

  wants (): boolean {
    return this.#writer.hasRoom
  }

  take (value: unknown): void {
    let frame: string
    try {
      frame = this.#contract.frame(value)
      const { id, data } = value as AnyEvent
      if (id !== undefined) this.#lastEventId = String(id)
      if (data !== undefined) this.#events++
    } catch (error) {
      this.#refuse(error as Error, value)
      return
    }
    this.#writer.append(frame)
  }

  done (): void {
    this.end('complete', this.#options.once ? encodeControl({ id: END_ID }) : '')
  }

  failed = (thrown: unknown): void => {
    const error = isError(thrown) ? thrown : new Error(`The source threw ${shown(thrown)}`, { cause: thrown })
    if (this.#head.committed || !this.#writer.isEmpty) {
      this.#reply.log.error({ err: error }, 'sse stream failed')
      this.end('error', this.#errorFrame(error))
    } else {
      this.#giveUp(error)
    }
  }

  /** An abort that follows from the end is no news; anything else that the source throws on its way out is. */
  failedLate = (thrown: unknown): void => {
    if (isError(thrown) && (thrown.name === 'AbortError' || (thrown as NodeJS.ErrnoException).code === 'ERR_STREAM_PREMATURE_CLOSE')) return
    this.#reply.log.error({ err: thrown }, 'sse source failed after its stream was over')
  }

  /** An event that cannot be sent: the source is told, or it is left out. */
  #refuse (error: Error, event: unknown): void {
    const { onInvalid } = this.#options
    let choice: 'error' | 'skip'
    try {
      choice = typeof onInvalid === 'function' ? onInvalid(error, event) : onInvalid
      this.#heed(choice)
    } catch (thrown) {
      this.#pump.stop()
      this.failed(thrown)
      return
    }
    if (choice === 'skip') this.#reply.log.warn({ err: error }, 'sse event left out')
    else this.#pump.refuse(error)
  }

  /** The handler threw after it had given us the source. */
  #overruled (error: Error): void {
    this.#pump.stop()
    if (this.#head.committed) this.failed(error)
    else this.#giveUp(error)
  }

  /** There is no stream: an ordinary error response instead. */
  #giveUp (error: Error): void {
    this.#pump.stop()
    this.#life.end('error')
    this.#head.sendError(error)
  }

  #errorFrame (error: Error): string {
    const { errorEvent } = this.#options
    const { request } = this.#reply
    try {
      const event = errorEvent === undefined ? problemEvent(error, request.id) : errorEvent?.(error, request) ?? null
      if (event === null) return ''
      this.#heed(event)
      return (this.#contract.declares(event) ? this.#contract : freeContract).frame(event)
    } catch (err) {
      this.#reply.log.error({ err }, 'sse error event could not be made')
      return ''
    }
  }

  /** A callback that is async by mistake: its rejection must not end the process. */
  #heed (result: unknown): void {
    if (result instanceof Promise) result.catch(err => this.#reply.log.error({ err }, 'sse callback failed'))
  }

  #commit (): void {
    if (!this.#head.commit()) return
    const { retry } = this.#options
    if (retry !== undefined) this.#writer.prepend(encodeControl({ retry }))
    try {
      this.#head.send(new Body(this.#writer, this.#reply))
    } catch (error) {
      // Outside the handler nobody else would catch it.
      this.#giveUp(error as Error)
    }
  }

  #stalled (): void {
    this.end('stalled')
    this.destroy()
  }

  #closed (): void {
    this.#pump.stop()
    this.#head.commit()
    this.#streams.delete(this)
    const reason = this.#life.reason!
    const { log } = this.#reply
    if (reason === 'client') log.debug('sse client left')
    try {
      this.#heed(this.#options.onClose?.({
        reason,
        duration: performance.now() - this.#startedAt,
        events: this.#events,
        bytes: this.#writer.bytes,
        lastEventId: this.#lastEventId
      }))
    } catch (err) {
      log.error({ err }, 'sse callback failed')
    }
    this.#settle()
  }
}
