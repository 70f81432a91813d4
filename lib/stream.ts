import type { Http2Session, Http2Stream } from 'node:http2'
import type { FastifyReply } from 'fastify'
import { Body } from './body.ts'
import { encodeControl, HEARTBEAT } from './encode.ts'
import { FST_SSE_REPLY_TAKEN } from './errors.ts'
import { freeContract, type AnyEvent, type Contract } from './events.ts'
import type { CloseReason, Life } from './life.ts'
import type { ResolvedOptions } from './options.ts'
import { problemEvent } from './problem.ts'
import { Pump } from './pump.ts'
import { dispose } from './source.ts'
import type { Streams } from './streams.ts'
import { Writer } from './writer.ts'

/** What every response of ours says, unless the handler or a hook said otherwise before. */
export const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  // no-transform: a proxy that compresses holds events back until its block is full.
  'cache-control': 'no-cache, no-transform',
  // nginx and those that copied it collect a response before they pass it on, unless told.
  'x-accel-buffering': 'no'
}

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
  readonly #reply: FastifyReply
  readonly #send: FastifyReply['send']
  readonly #options: ResolvedOptions
  readonly #contract: Contract
  readonly #life: Life
  readonly #streams: Streams
  readonly #pump: Pump
  readonly #writer: Writer
  readonly #startedAt = performance.now()
  readonly #deadline: number
  #settle!: () => void
  #committed = false
  #commitTimer: NodeJS.Timeout | undefined
  #events = 0
  #lastEventId: string | undefined

  constructor ({ reply, options, contract, life, streams }: StreamSetup) {
    this.over = new Promise(resolve => { this.#settle = resolve })
    this.#reply = reply
    this.#send = reply.send
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
    this.#keepReply()
    life.unforeseen = 'error'
    life.onClose = () => this.#closed()
    streams.add(this, options)
  }

  start (source: unknown): void {
    const life = this.#life
    if (life.reason !== undefined) {
      // The client left before there was a stream, during a slow hook.
      dispose(source)
      this.#closed()
      return
    }
    this.#pump.start(source, { get signal () { return life.signal }, lastEventId: this.#lastEventId })
    // A microtask later a tick later: all that was ready has come by then, and no timer was made for it.
    queueMicrotask(() => process.nextTick(this.#armCommit))
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
    this.#reply.raw.destroy()
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
    } catch (error) {
      this.#refuse(error as Error, value)
      return
    }
    const event = value as AnyEvent
    if (event.id !== undefined) this.#lastEventId = String(event.id)
    if (event.data !== undefined) this.#events++
    this.#writer.append(frame)
  }

  done (): void {
    this.end('complete', this.#options.once ? encodeControl({ id: END_ID }) : '')
  }

  failed = (thrown: unknown): void => {
    const error = thrown instanceof Error ? thrown : new Error(`The source threw ${String(thrown)}`, { cause: thrown })
    if (this.#committed || !this.#writer.isEmpty) {
      this.#reply.log.error({ err: error }, 'sse stream failed')
      this.end('error', this.#errorFrame(error))
    } else {
      this.#answer(error)
    }
  }

  /** An abort that follows from the end is no news; anything else that the source throws on its way out is. */
  failedLate = (thrown: unknown): void => {
    const { name, code } = (thrown ?? {}) as { name?: unknown, code?: unknown }
    if (name === 'AbortError' || code === 'ERR_STREAM_PREMATURE_CLOSE') return
    this.#reply.log.error({ err: thrown }, 'sse source failed after its stream was over')
  }

  /** An event that cannot be sent: the source is told, or it is left out. */
  #refuse (error: Error, event: unknown): void {
    const { onInvalid } = this.#options
    let choice: 'error' | 'skip'
    try {
      choice = typeof onInvalid === 'function' ? onInvalid(error, event) : onInvalid
    } catch (thrown) {
      this.#pump.stop()
      this.failed(thrown)
      return
    }
    if (choice === 'skip') this.#reply.log.warn({ err: error }, 'sse event left out')
    else this.#pump.refuse(error)
  }

  #errorFrame (error: Error): string {
    const { errorEvent } = this.#options
    const { request } = this.#reply
    try {
      const event = errorEvent === undefined ? problemEvent(error, request.id) : errorEvent?.(error, request) ?? null
      if (event === null) return ''
      return (this.#contract.declares(event) ? this.#contract : freeContract).frame(event)
    } catch (err) {
      this.#reply.log.error({ err }, 'sse error event could not be made')
      return ''
    }
  }

  /**
   * From here until the head is out the reply belongs to this stream. Fastify sends `undefined` for an async handler
   * that returns nothing, which must not end the response; an error thrown there is the stream's.
   */
  #keepReply (): void {
    const reply = this.#reply
    reply.send = (payload?: unknown) => {
      if (payload === undefined) return reply
      if (this.#committed) return this.#send.call(reply, payload)
      if (payload instanceof Error) {
        this.#pump.stop()
        this.failed(payload)
      } else {
        reply.log.warn({ err: new FST_SSE_REPLY_TAKEN() }, 'sse reply taken')
      }
      return reply
    }
  }

  readonly #armCommit = (): void => {
    if (this.#committed || this.#life.reason !== undefined || !this.#writer.isEmpty) return
    const { commitDelay } = this.#options
    if (commitDelay === 0) this.#commitEmpty()
    else this.#commitTimer = setTimeout(this.#commitEmpty, commitDelay)
  }

  /** The first event takes its time: show `onopen` and the proxies that somebody is there. */
  readonly #commitEmpty = (): void => {
    if (this.#writer.isEmpty) this.#writer.append(HEARTBEAT)
  }

  #commit (): void {
    if (this.#committed) return
    this.#committed = true
    clearTimeout(this.#commitTimer)
    const reply = this.#reply
    const { retry } = this.#options
    if (retry !== undefined) this.#writer.prepend(encodeControl({ retry }))
    for (const [name, value] of Object.entries(HEADERS)) {
      if (!reply.hasHeader(name)) reply.header(name, value)
    }
    try {
      this.#send.call(reply, new Body(this.#writer, reply))
    } catch (error) {
      // A header that cannot be sent, say. Outside the handler nobody else would catch it.
      this.#pump.stop()
      this.#answer(error as Error)
    }
  }

  /** Nothing is sent yet: an ordinary error of an ordinary request, with its hooks, handlers and status. */
  #answer (error: Error): void {
    this.#life.end('error')
    clearTimeout(this.#commitTimer)
    this.#committed = true
    try {
      this.#send.call(this.#reply, error)
    } catch (err) {
      this.#reply.log.error({ err }, 'sse error reply failed')
      this.destroy()
    }
  }

  #stalled (): void {
    this.end('stalled')
    this.destroy()
  }

  #closed (): void {
    this.#pump.stop()
    clearTimeout(this.#commitTimer)
    this.#streams.delete(this)
    const reason = this.#life.reason!
    const { log } = this.#reply
    if (reason === 'client') log.debug('sse client left')
    try {
      this.#options.onClose?.({
        reason,
        duration: performance.now() - this.#startedAt,
        events: this.#events,
        bytes: this.#writer.bytes,
        lastEventId: this.#lastEventId
      })
    } catch (err) {
      log.error({ err }, 'sse onClose failed')
    }
    this.#settle()
  }
}
