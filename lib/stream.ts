import type { FastifyReply } from 'fastify'
import { Body, type Sink } from './body.ts'
import { encodeControl, HEARTBEAT } from './encode.ts'
import { FST_SSE_REPLY_TAKEN } from './errors.ts'
import { freeContract, type Contract } from './events.ts'
import type { CloseReason, Life } from './life.ts'
import type { ResolvedOptions } from './options.ts'
import { problemEvent } from './problem.ts'
import { iterate, type EventIterator } from './source.ts'
import type { Streams } from './streams.ts'
import { turnIsOver } from './turn.ts'

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

// What is ready together leaves in one write up to this size, in characters: then the kernel's turn.
const MAX_BATCH = 32 * 1024

export interface StreamSetup {
  reply: FastifyReply
  options: ResolvedOptions
  contract: Contract
  life: Life
  streams: Streams
}

type Step = IteratorResult<unknown>

/**
 * One open response. It pulls from the source what the client takes, writes together what is ready together,
 * and ends once, with one reason.
 *
 * Its way: the first `next()` runs before anything is sent. Its value (or `commitDelay`) commits the stream:
 * `reply.send(body)` runs the onSend hooks and pipes the body, whose pipe opens the stream on the response.
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
  readonly #startedAt = performance.now()
  #settle!: () => void
  #iterator: EventIterator | undefined
  #exhausted = false
  #pulling = false
  #sink: Sink | undefined
  #committed = false
  #blocked = false
  #flushing = false
  #ended = false
  #batch = ''
  #commitTimer: NodeJS.Timeout | undefined
  #deadline = Infinity
  #quietSince = 0
  #pending = 0
  #movedAt = 0
  #events = 0
  #bytes = 0
  #lastEventId: string | undefined
  /** An event's error that the source is told at its next step. */
  #refusal: Error | undefined

  constructor ({ reply, options, contract, life, streams }: StreamSetup) {
    this.over = new Promise(resolve => { this.#settle = resolve })
    this.#reply = reply
    this.#send = reply.send
    this.#options = options
    this.#contract = contract
    this.#life = life
    this.#streams = streams
    this.#lastEventId = reply.request.lastEventId
    this.#keepReply()
    life.onClose = () => this.#closed()
    life.unforeseen = 'error'
    streams.add(this, options)
    if (options.maxLifetime > 0) this.#deadline = streams.now + options.maxLifetime * (0.9 + Math.random() * 0.2)
  }

  start (source: unknown): void {
    const life = this.#life
    const context = { get signal () { return life.signal }, lastEventId: this.#lastEventId }
    try {
      const iterator = iterate(source, context)
      if (iterator instanceof Promise) {
        this.#pulling = true
        iterator.then(this.#begin, this.#failed)
      } else {
        this.#begin(iterator)
      }
    } catch (error) {
      this.#failed(error)
    }
    // A microtask later a tick later: all that was ready has come by then, and no timer was made for it.
    queueMicrotask(() => process.nextTick(this.#armCommit))
  }

  /** Ends the stream once: signal, source, last bytes, close. */
  end (reason: CloseReason, last = ''): void {
    if (!this.#life.end(reason)) return
    this.#stopSource()
    this.#batch += last
    if (reason === 'stalled') this.destroy()
    else this.#flush()
  }

  /** Cuts the connection: for clients that do not take the end. */
  destroy (): void {
    this.#reply.raw.destroy()
  }

  /** The body's pipe came to the response: what is written from here on reaches the client. */
  open (sink: Sink): void {
    this.#sink = sink
    this.#quietSince = this.#movedAt = this.#streams.now
    this.#flush()
    this.#pull()
  }

  drained (): void {
    if (!this.#blocked) return
    this.#blocked = false
    if (this.#batch !== '') this.#flush()
    this.#pull()
  }

  /** The shared timer's beat: lifetime, stalled clients, heartbeats. */
  tick (now: number): void {
    if (now >= this.#deadline) this.end('lifetime')
    if (this.#sink === undefined) return
    const pending = this.#unsent()
    if (pending > 0) {
      const { stallTimeout } = this.#options
      if (pending !== this.#pending) this.#movedAt = now
      else if (stallTimeout > 0 && now - this.#movedAt >= stallTimeout) this.#stalled()
    } else if (this.#life.reason === undefined && this.#options.heartbeatInterval > 0 && now - this.#quietSince >= this.#options.heartbeatInterval) {
      this.#write(HEARTBEAT)
    }
    this.#pending = pending
  }

  readonly #begin = (iterator: EventIterator): void => {
    this.#pulling = false
    this.#iterator = iterator
    if (this.#life.reason === undefined) this.#pull()
    else this.#stopSource()
  }

  /** Takes events while the client does and this turn of the loop lasts. */
  #pull (): void {
    while (!this.#pulling && this.#wants()) {
      if (turnIsOver()) {
        this.#pulling = true
        setImmediate(this.#resume)
        return
      }
      let step: Step | Promise<Step>
      try {
        step = this.#step(this.#iterator!)
      } catch (error) {
        this.#failed(error)
        return
      }
      if (typeof (step as Promise<Step>).then === 'function') {
        this.#pulling = true;
        (step as Promise<Step>).then(this.#arrived, this.#failed)
      } else {
        this.#take(step as Step)
      }
    }
  }

  #step (iterator: EventIterator): Step | Promise<Step> {
    const refusal = this.#refusal
    if (refusal === undefined) return iterator.next()
    this.#refusal = undefined
    return iterator.throw!(refusal)
  }

  #wants (): boolean {
    return this.#life.reason === undefined && this.#iterator !== undefined && !this.#exhausted && !this.#blocked &&
      (this.#sink !== undefined || this.#batch.length < MAX_BATCH)
  }

  readonly #arrived = (step: Step): void => {
    this.#pulling = false
    this.#take(step)
    this.#pull()
  }

  readonly #resume = (): void => {
    this.#pulling = false
    this.#pull()
  }

  #take (step: Step): void {
    if (this.#life.reason !== undefined) return
    if (step.done === true) {
      this.#exhausted = true
      this.end('complete', this.#options.once ? encodeControl({ id: END_ID }) : '')
      return
    }
    const event = step.value as { id?: unknown, data?: unknown }
    try {
      this.#batch += this.#contract.frame(event)
    } catch (error) {
      this.#refuse(error as Error, event)
      return
    }
    if (event.id !== undefined) this.#lastEventId = String(event.id)
    if (event.data !== undefined) this.#events++
    if (this.#batch.length >= MAX_BATCH) {
      this.#flush()
    } else if (!this.#flushing) {
      // Ticks run when the microtasks are done: whatever is ready now joins this write, and nothing waits for a timer.
      this.#flushing = true
      process.nextTick(this.#flush)
    }
  }

  /** An event that cannot be sent: the source is told at its `yield`, or it is left out. */
  #refuse (error: Error, event: unknown): void {
    const { onInvalid } = this.#options
    let choice: 'error' | 'skip'
    try {
      choice = typeof onInvalid === 'function' ? onInvalid(error, event) : onInvalid
    } catch (thrown) {
      this.#stopSource()
      this.#failed(thrown)
      return
    }
    if (choice === 'skip') {
      this.#reply.log.warn({ err: error }, 'sse event left out')
      return
    }
    if (this.#iterator?.throw === undefined) {
      this.#stopSource()
      this.#failed(error)
      return
    }
    this.#refusal = error
  }

  readonly #failed = (thrown: unknown): void => {
    this.#pulling = false
    this.#exhausted = true
    if (this.#life.reason !== undefined) {
      this.#logLate(thrown)
      return
    }
    const error = thrown instanceof Error ? thrown : new Error(`The source threw ${String(thrown)}`, { cause: thrown })
    if (this.#committed || this.#batch !== '') {
      this.#reply.log.error({ err: error }, 'sse stream failed')
      this.end('error', this.#errorFrame(error))
    } else {
      this.#answer(error)
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

  /** An abort that follows from the end is no news; anything else that the source throws on its way out is. */
  readonly #logLate = (thrown: unknown): void => {
    const { name, code } = (thrown ?? {}) as { name?: unknown, code?: unknown }
    if (name === 'AbortError' || code === 'ERR_STREAM_PREMATURE_CLOSE') return
    this.#reply.log.error({ err: thrown }, 'sse source failed after its stream was over')
  }

  #stopSource (): void {
    if (this.#exhausted || this.#iterator === undefined) return
    this.#exhausted = true
    try {
      // Not awaited: an async generator queues it behind the pending next(), which may never settle.
      Promise.resolve(this.#iterator.return?.()).catch(this.#logLate)
    } catch (error) {
      this.#logLate(error)
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
        this.#stopSource()
        this.#failed(payload)
      } else {
        reply.log.warn({ err: new FST_SSE_REPLY_TAKEN() }, 'sse reply taken')
      }
      return reply
    }
  }

  readonly #armCommit = (): void => {
    if (this.#committed || this.#batch !== '' || this.#life.reason !== undefined) return
    const { commitDelay } = this.#options
    if (commitDelay === 0) this.#commitEmpty()
    else this.#commitTimer = setTimeout(this.#commitEmpty, commitDelay)
  }

  /** The first event takes its time: show `onopen` and the proxies that somebody is there. */
  readonly #commitEmpty = (): void => {
    if (this.#committed) return
    this.#batch = HEARTBEAT
    this.#commit()
  }

  #commit (): void {
    if (this.#committed) return
    this.#committed = true
    clearTimeout(this.#commitTimer)
    const { retry } = this.#options
    if (retry !== undefined) this.#batch = encodeControl({ retry }) + this.#batch
    for (const [name, value] of Object.entries(HEADERS)) {
      if (!this.#reply.hasHeader(name)) this.#reply.header(name, value)
    }
    try {
      this.#send.call(this.#reply, new Body(this, this.#reply))
    } catch (error) {
      // A header that cannot be sent, say. Outside the handler nobody else would catch it.
      this.#stopSource()
      this.#answer(error as Error)
    }
  }

  readonly #flush = (): void => {
    this.#flushing = false
    if (this.#sink === undefined) {
      this.#commit()
    } else if (this.#life.reason !== undefined) {
      this.#finish(this.#sink)
    } else if (!this.#blocked && this.#batch !== '') {
      const batch = this.#batch
      this.#batch = ''
      this.#write(batch)
    }
  }

  #write (text: string): void {
    if (this.#reply.raw.destroyed) return
    this.#bytes += Buffer.byteLength(text)
    this.#quietSince = this.#streams.now
    if (!this.#sink!.write(text)) this.#blocked = true
  }

  #finish (sink: Sink): void {
    if (this.#ended || this.#reply.raw.destroyed) return
    this.#ended = true
    this.#bytes += Buffer.byteLength(this.#batch)
    sink.end(this.#batch)
    this.#batch = ''
  }

  /** Bytes that the kernel has not taken yet. */
  #unsent (): number {
    const { raw } = this.#reply
    // One large write is one entry of writableLength until all of it is gone. The handle's own count shows a slow
    // reader's progress inside it; Node's socket timeout looks there too.
    const handle = (raw.socket as { _handle?: { writeQueueSize?: number } } | null)?._handle
    return raw.writableLength + (handle?.writeQueueSize ?? 0)
  }

  #stalled (): void {
    // A response without a socket waits behind a pipelined predecessor: that is not the client's doing.
    if (this.#reply.raw.socket === null) return
    if (this.#life.reason === undefined) this.end('stalled')
    else this.destroy()
  }

  #closed (): void {
    this.#stopSource()
    clearTimeout(this.#commitTimer)
    this.#streams.delete(this)
    this.#batch = ''
    const reason = this.#life.reason!
    const { log } = this.#reply
    if (reason === 'client') log.debug('sse client left')
    try {
      this.#options.onClose?.({
        reason,
        duration: performance.now() - this.#startedAt,
        events: this.#events,
        bytes: this.#bytes,
        lastEventId: this.#lastEventId
      })
    } catch (err) {
      log.error({ err }, 'sse onClose failed')
    }
    this.#settle()
  }
}
