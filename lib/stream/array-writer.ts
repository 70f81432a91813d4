import { clearTimeout, setTimeout } from '../clock.ts'
import type { FrameBatch } from '../channel/frame-batch.ts'
import { FST_SSE_INCOMPLETE } from '../errors.ts'
import type { CloseReason } from '../lifecycle.ts'
import { onAbort } from '../listeners.ts'
import type { ChannelSource } from '../source/source.ts'
import { Writer, type WriterOwner } from './writer.ts'

/** The stream of an array writer. */
export interface ArrayOwner extends Omit<WriterOwner, 'end' | 'failures'> {
  readonly bodiless: boolean
  readonly lifecycle: { readonly reason: CloseReason | undefined, readonly signal: AbortSignal }
  readonly failures: WriterOwner['failures'] & { errorFrame: (error: Error) => string }
  /** The milliseconds that the answer waits for the first event of its channels. */
  readonly wait: number
  end: (reason: CloseReason) => void
}

/**
 * Writes the events of a stream as one JSON array. A source fills it until its end. Channels have no end to wait for:
 * the array has the events that are there, or the first ones that are published within the wait.
 */
export class ArrayWriter extends Writer {
  readonly #stream: ArrayOwner
  #begun = false
  #subscribed = false
  #caughtUp = false
  #answered = false

  constructor (stream: ArrayOwner) {
    super(stream)
    this.#stream = stream
  }

  /** The position is the only way to the next events: it is part of every answer. */
  override get omitsPositions (): boolean { return false }

  override subscribe (channels: Array<ChannelSource<unknown>>): void {
    this.#subscribed = true
    super.subscribe(channels)
  }

  /** Answers with the events of the channels, or waits for the first one. */
  caughtUp (): void {
    this.#caughtUp = true
    const { wait, lifecycle: { signal } } = this.#stream
    if (this.events > 0 || wait === 0) return this.#answer()
    const timer = setTimeout(() => this.#answer(), wait)
    onAbort(signal, () => clearTimeout(timer))
  }

  override writeFrames (frames: string | FrameBatch, events: number): void {
    super.writeFrames(typeof frames === 'string' ? frames : frames.text, events)
  }

  override append (frame: string): void {
    super.append(this.#elements(frame))
    if (this.#caughtUp && this.events > 0) this.#answer()
  }

  override end (frame: string): void {
    if (this.#stream.bodiless) return super.end(frame)
    const last = this.#elements(frame + this.#incomplete())
    super.end(`${last}${this.#begun ? '' : '['}]\n`)
  }

  /** Ends the answer after this turn: events that are ready together are sent in one array. */
  #answer (): void {
    if (this.#answered) return
    this.#answered = true
    process.nextTick(() => this.#stream.end('complete'))
  }

  /** Returns the error of an array that ends before its source: nothing else tells it from a complete one. */
  #incomplete (): string {
    const { lifecycle: { reason }, failures } = this.#stream
    const isCut = !this.#subscribed && (reason === 'shutdown' || reason === 'expired')
    return isCut ? failures.errorFrame(new FST_SSE_INCOMPLETE()) : ''
  }

  /** Returns lines as elements of the array. An empty line is white space between them. */
  #elements (lines: string): string {
    return lines.split('\n').map(line => line === '' ? line : this.#element(line)).join('\n')
  }

  #element (line: string): string {
    const mark = this.#begun ? ',' : '['
    this.#begun = true
    return mark + line
  }
}
