import type { ServerResponse } from 'node:http'
import type { FrameBatch } from '../channel/frame-batch.ts'
import { withPosition } from '../channel/projection.ts'
import type { SubscriberSink } from '../channel/subscriber-context.ts'
import { freeContract, isSystemEvent, type Contract } from '../contract/contract.ts'
import type { AnyEvent, SystemEvent } from '../contract/event-types.ts'
import type { EventSink } from '../source/pump.ts'
import type { ChannelSource, SourceDriver } from '../source/source.ts'
import type { WireFormat } from '../wire/format.ts'
import { compactHead, unsentBytes } from './fastify-internals.ts'
import type { Representation } from './formats.ts'
import type { ResolvedOptions } from './options.ts'
import type { ByteSink } from './response-writer.ts'
import type { StreamRecord } from './stream-record.ts'

// Frames that are ready together are sent in one write of at most this many characters. Then the kernel has its turn.
const MAX_BATCH = 32 * 1024

/** The stream of a writer. */
export interface WriterOwner {
  readonly response: ServerResponse
  readonly options: Pick<ResolvedOptions, 'heartbeatInterval' | 'stallTimeout' | 'systemEvent'>
  readonly contract: Contract
  readonly representation: Pick<Representation, 'contentType' | 'wire'>
  readonly record: StreamRecord
  readonly driver: Pick<SourceDriver, 'pull' | 'checkpoint'> | undefined
  /** `open` sends the head and gives the writer its byte sink, now or after the onSend hooks. */
  readonly head: { open: () => void }
  readonly failures: {
    rejected: (error: Error, event: unknown) => void
    fail: (thrown: unknown) => void
    failLate: (thrown: unknown) => void
  }
  subscribe: (channels: Array<ChannelSource<unknown>>) => void
  end: (reason: 'stalled' | 'lagging') => void
  complete: () => void
  channelEnded: (failed: boolean) => void
  opened: () => void
  respondNoContent: () => void
  destroy: () => void
}

/**
 * The sink of a stream's driver: frames events by the contract and writes them to one client. Frames that are ready
 * together are sent in one write, as many as the client reads. After a silence it writes a heartbeat.
 */
export class Writer implements EventSink, SubscriberSink {
  /** Shared by all writers: an idle client needs no additional function. */
  static readonly #flushOf = (writer: Writer): void => writer.#flush()

  /** The number of events that were written. */
  events = 0
  readonly format: WireFormat
  readonly #stream: WriterOwner
  #sink: ByteSink | undefined
  #batch = ''
  #scheduled = false
  #blocked = false
  #ending = false
  #ended = false
  #wrote = true
  #bytes = 0
  #quietSince = 0
  #unsent = 0
  #movedAt = 0

  constructor (stream: WriterOwner) {
    this.#stream = stream
    this.format = stream.representation.wire
  }

  /** Bytes handed to the connection. */
  get bytes (): number { return this.#sink?.bytes ?? this.#bytes }
  get record (): StreamRecord { return this.#stream.record }
  get scope (): StreamRecord['scope'] { return this.#stream.record.scope }
  get contentType (): string { return this.#stream.representation.contentType }
  get isEmpty (): boolean { return this.#batch === '' }
  get isOpen (): boolean { return this.#sink !== undefined }
  get omitsPositions (): boolean { return this.#stream.options.systemEvent === null }

  /**
   * Whether there is room for another frame: the client reads, or the first write is still pending and is not large.
   */
  hasRoom (): boolean { return !this.#blocked && this.#batch.length < MAX_BATCH }

  /** Frames an event by the contract and writes it after `before`. Returns false for an event that was rejected. */
  write (event: unknown, before = ''): boolean {
    let frame: string
    try {
      const { systemEvent } = this.#stream.options
      frame = systemEvent !== undefined && isSystemEvent(event)
        ? this.#systemFrame(event, systemEvent)
        : this.frame(event)
    } catch (error) {
      this.#stream.failures.rejected(error as Error, event)
      return false
    }
    this.append(before + frame)
    return true
  }

  /** Returns the frame of an event that is written next, and counts the event. Throws if it is invalid. */
  frame (event: unknown, contract = this.#stream.contract): string {
    const frame = contract.frame(event, this.format)
    const { id, data } = event as AnyEvent
    if (id !== undefined) this.#stream.record.lastEventId = String(id)
    if (data !== undefined) this.events++
    return frame
  }

  /** Returns the frame that the option `systemEvent` chooses for a system event. */
  #systemFrame (event: SystemEvent, choose: NonNullable<ResolvedOptions['systemEvent']> | null): string {
    const { record, contract } = this.#stream
    const chosen = choose === null
      ? null
      : record.scope.runInAsyncScope(choose, undefined, event, record.request) ?? null
    if (chosen === event) return this.frame(event)
    if (chosen === null) {
      record.omittedSystemEvents++
      return this.omitsPositions || event.id === undefined ? '' : this.frame({ id: event.id })
    }
    record.watchCallback(chosen)
    return this.frame(withPosition(chosen, event.id), contract.declares(chosen) ? contract : freeContract)
  }

  /**
   * Writes frames whose events were checked when they were published. Shared frames are written to the connection at
   * once, unless earlier frames still wait.
   */
  writeFrames (frames: string | FrameBatch, events: number): void {
    this.events += events
    if (typeof frames === 'string') this.append(frames)
    else if (this.#batch !== '' || this.#sink === undefined || this.#blocked) this.append(frames.text)
    else if (!this.#ending && !this.#stream.response.destroyed) this.#count(frames.size, this.#sink.writeShared(frames))
  }

  subscribe (channels: Array<ChannelSource<unknown>>): void { this.#stream.subscribe(channels) }
  complete (): void { this.#stream.complete() }
  respondNoContent (): void { this.#stream.respondNoContent() }
  channelEnded (failed: boolean): void { this.#stream.channelEnded(failed) }
  fellBehind (): void { this.#stream.end('lagging') }
  fail (thrown: unknown): void { this.#stream.failures.fail(thrown) }
  failLate (thrown: unknown): void { this.#stream.failures.failLate(thrown) }

  append (frame: string): void {
    this.#batch += frame
    if (this.#batch.length >= MAX_BATCH) {
      this.#flush()
    } else if (!this.#scheduled) {
      // Ticks run after the microtasks: every frame that is ready now joins this write, and none waits for a timer.
      this.#scheduled = true
      process.nextTick(Writer.#flushOf, this)
    }
  }

  /** Puts a frame before all that waits for the first write. */
  prepend (frame: string): void {
    this.#batch = frame + this.#batch
  }

  /** Writes to the sink from now on. The first frames are sent with the head. */
  open (sink: ByteSink): void {
    this.#sink = sink
    this.#stream.opened()
    this.#flush()
    if (!this.#ending) this.#stream.driver?.pull()
  }

  /** Writes the last frames and the end of the response, in one write. */
  end (frame: string): void {
    this.#batch += frame
    this.#ending = true
    this.#flush()
  }

  drained (): void {
    if (!this.#blocked) return
    this.#blocked = false
    this.#flush()
    this.#stream.driver?.pull()
  }

  /** Called by the shared timer: a clock read for each write would cost more than its accuracy is worth. */
  tick (now: number): void {
    if (this.#sink === undefined) return
    // A stream that lives until a tick may be idle for long.
    if (this.#quietSince === 0) compactHead(this.#stream.response)
    if (this.#wrote) this.#quietSince = now
    this.#wrote = false
    const { options: { heartbeatInterval, stallTimeout }, response, driver } = this.#stream
    // A blocked sink may hold bytes that no count reaches: in the body that a hook pipes on, or in an injected client.
    const unsent = unsentBytes(response) || Number(this.#blocked)
    if (unsent !== this.#unsent) this.#movedAt = now
    this.#unsent = unsent
    if (unsent > 0) {
      // A response without a socket waits behind a pipelined predecessor, and its client is not the cause.
      if (stallTimeout > 0 && now - this.#movedAt >= stallTimeout && response.socket !== null) {
        this.#stream.end('stalled')
        this.#stream.destroy()
      }
    } else if (heartbeatInterval > 0 && now - this.#quietSince >= heartbeatInterval && !this.#ending) {
      this.append(driver?.checkpoint?.() || this.format.heartbeat)
      this.#flush()
    }
  }

  #flush (): void {
    this.#scheduled = false
    if (this.#sink === undefined) {
      if (this.#batch !== '' || this.#ending) this.#stream.head.open()
    } else if (this.#ending) {
      this.#finish(this.#sink)
    } else if (!this.#blocked && this.#batch !== '') {
      const batch = this.#batch
      this.#batch = ''
      this.#write(batch)
    }
  }

  #write (text: string): void {
    if (this.#stream.response.destroyed) return
    const bytes = Buffer.byteLength(text)
    this.#count(bytes, this.#sink!.write(text, bytes))
  }

  #count (bytes: number, room: boolean): void {
    this.#bytes += bytes
    this.#wrote = true
    if (!room) this.#blocked = true
  }

  #finish (sink: ByteSink): void {
    if (this.#ended || this.#stream.response.destroyed) return
    this.#ended = true
    const bytes = Buffer.byteLength(this.#batch)
    this.#bytes += bytes
    sink.end(this.#batch, bytes)
    this.#batch = ''
  }
}
