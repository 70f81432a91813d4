import type { ServerResponse } from 'node:http'
import type { ByteSink } from './reply-body.ts'
import type { FrameBatch } from '../channel/frame-batch.ts'
import type { ResolvedOptions } from './options.ts'

// What is ready together leaves in one write up to this size, in characters: then it is the kernel's turn.
const MAX_BATCH = 32 * 1024

export interface WriterSetup {
  response: ServerResponse
  options: Pick<ResolvedOptions, 'heartbeatInterval' | 'stallTimeout'>
  /** There is something to write and no sink yet. */
  commit: () => void
  /** There is room again. */
  resume: () => void
  /** What to write when there was nothing to write for a while. */
  heartbeat: () => string
  /** The client took no byte for `stallTimeout` while bytes wait. */
  end: (reason: 'stalled') => void
  destroy: () => void
}

/**
 * Collects frames and writes them to one client: what is ready together in one write, no more than the client takes,
 * and a heartbeat when there was nothing to write for a while.
 */
export class Writer {
  /** For all of them: an idle client needs no function of its own. */
  static readonly #flushOf = (writer: Writer): void => writer.#flush()

  /** Bytes handed to the connection. */
  bytes = 0
  readonly #setup: WriterSetup
  #sink: ByteSink | undefined
  #batch = ''
  #scheduled = false
  #blocked = false
  #ending = false
  #ended = false
  #wrote = true
  #quietSince = 0
  #unsent = 0
  #movedAt = 0

  constructor (setup: WriterSetup) {
    this.#setup = setup
  }

  /** Whether another frame has room: the client takes bytes, or the first write is yet to come and is not large. */
  get hasRoom (): boolean { return !this.#blocked && this.#batch.length < MAX_BATCH }

  get isEmpty (): boolean { return this.#batch === '' }

  append (frame: string): void {
    this.#batch += frame
    if (this.#batch.length >= MAX_BATCH) {
      this.#flush()
    } else if (!this.#scheduled) {
      // Ticks run when the microtasks are done: whatever is ready now joins this write, and nothing waits for a timer.
      this.#scheduled = true
      process.nextTick(Writer.#flushOf, this)
    }
  }

  /** Frames that others get too: straight to the connection, unless something waits to go before them. */
  writeShared (chunk: FrameBatch): void {
    if (this.#batch !== '' || this.#sink === undefined || this.#blocked) this.append(chunk.text)
    else if (!this.#ending && !this.#setup.response.destroyed) this.#count(chunk.size, this.#sink.writeShared(chunk))
  }

  /** Before everything else that waits for the first write. */
  prepend (frame: string): void {
    this.#batch = frame + this.#batch
  }

  /** The first frames leave with the head. */
  open (sink: ByteSink): void {
    this.#sink = sink
    this.#flush()
    if (!this.#ending) this.#setup.resume()
  }

  /** The last frames and the end of the response, in one write. */
  end (frame: string): void {
    this.#batch += frame
    this.#ending = true
    this.#flush()
  }

  drained (): void {
    if (!this.#blocked) return
    this.#blocked = false
    this.#flush()
    this.#setup.resume()
  }

  /** The shared timer's beat. Reading a clock at each write would cost more than it tells. */
  tick (now: number): void {
    if (this.#sink === undefined) return
    if (this.#wrote) this.#quietSince = now
    this.#wrote = false
    const { heartbeatInterval, stallTimeout } = this.#setup.options
    // What took no more may hold it where no count reaches: the body that a hook passes on, the client of an inject.
    const unsent = this.#countUnsent() || Number(this.#blocked)
    if (unsent !== this.#unsent) this.#movedAt = now
    this.#unsent = unsent
    if (unsent > 0) {
      // A response without a socket waits behind a pipelined predecessor: that is not the client's doing.
      if (stallTimeout > 0 && now - this.#movedAt >= stallTimeout && this.#setup.response.socket !== null) {
        this.#setup.end('stalled')
        this.#setup.destroy()
      }
    } else if (heartbeatInterval > 0 && now - this.#quietSince >= heartbeatInterval && !this.#ending) {
      this.#write(this.#setup.heartbeat())
    }
  }

  #flush (): void {
    this.#scheduled = false
    if (this.#sink === undefined) {
      if (this.#batch !== '' || this.#ending) this.#setup.commit()
    } else if (this.#ending) {
      this.#finish(this.#sink)
    } else if (!this.#blocked && this.#batch !== '') {
      const batch = this.#batch
      this.#batch = ''
      this.#write(batch)
    }
  }

  #write (text: string): void {
    if (this.#setup.response.destroyed) return
    const bytes = Buffer.byteLength(text)
    this.#count(bytes, this.#sink!.write(text, bytes))
  }

  #count (bytes: number, room: boolean): void {
    this.bytes += bytes
    this.#wrote = true
    if (!room) this.#blocked = true
  }

  #finish (sink: ByteSink): void {
    if (this.#ended || this.#setup.response.destroyed) return
    this.#ended = true
    const bytes = Buffer.byteLength(this.#batch)
    this.bytes += bytes
    sink.end(this.#batch, bytes)
    this.#batch = ''
  }

  /** Bytes that the kernel has not taken yet. */
  #countUnsent (): number {
    const { response } = this.#setup
    if (response.req.httpVersionMajor !== 1) return response.writableLength
    // What goes to an injected response goes to its client at once; the socket that it has besides takes all, a little later.
    if ((response as { isLightMyRequest?: boolean }).isLightMyRequest === true) return 0
    // One large write is one entry of writableLength until all of it is gone. The handle's own count shows a slow
    // reader's progress inside it; Node's socket timeout looks there too.
    const handle = (response.socket as { _handle?: { writeQueueSize?: number } } | null)?._handle
    return response.writableLength + (handle?.writeQueueSize ?? 0)
  }
}
