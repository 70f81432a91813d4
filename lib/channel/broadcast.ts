import { now } from '../clock.ts'
import { diagnostics } from '../metrics/diagnostics.ts'
import { FrameBatch, type BatchOrigin, type ReviewedEntry } from './frame-batch.ts'
import type { Histogram } from '../metrics/histogram.ts'
import { sharedScope } from '../scope.ts'
import { EVENT_STREAM } from '../wire/format.ts'
import { yieldToLoop, budgetSpent } from '../source/loop-budget.ts'

/** A reader at the end of the log. */
export interface LiveReader {
  /** Receives the events published in the last turn of the event loop. Does not throw. */
  deliver: (batch: FrameBatch) => void
  /** Called when the log ended or began a new epoch. Does not throw. */
  onStateChange: () => void
}

// Events published in one turn of the event loop are one batch, up to this size in characters.
const MAX_BATCH = 32 * 1024
// A batch reaches at most this number of readers in one turn, which takes two or three milliseconds.
const READERS_PER_TURN = 256
// An entry costs at least its name, id and field names, in characters: an empty one is not free.
const OVERHEAD = 32

/** A batch that is being delivered to the live readers of a channel. */
export class Delivery {
  readonly batch: FrameBatch
  /** The time at which this process received the first of its events. */
  readonly since: number
  /** The number of live readers at the start. */
  readonly subscribers: number
  // An iterator of the live set itself: it skips a removed reader. It also visits a reader that was added meanwhile,
  // which compares its position and ignores a batch that it has.
  readonly #readers: Iterator<LiveReader>

  constructor (batch: FrameBatch, readers: ReadonlySet<LiveReader>, since: number) {
    this.batch = batch
    this.since = since
    this.subscribers = readers.size
    this.#readers = readers.values()
  }

  /** Delivers to the next readers, at most `max`. Returns the unused part of `max`; 0: there may be more readers. */
  advance (max: number): number {
    for (let left = max; left > 0; left--) {
      const { done, value } = this.#readers.next()
      if (done === true) return left
      value.deliver(this.batch)
    }
    return 0
  }
}

/**
 * Delivers published events to the live readers of a channel, one batch after the other. A large audience does not
 * block the process: a delivery yields to the event loop after every `READERS_PER_TURN` readers. Events published
 * meanwhile form the next batch: the higher the load, the lower the cost of an event.
 */
export class Broadcast implements BatchOrigin {
  /** Dropped with the last live reader. */
  windows: BatchOrigin['windows']
  readonly #channel: string
  readonly #latency: Histogram
  readonly #live = new Set<LiveReader>()
  #epoch = ''
  #delivery: Delivery | undefined
  #pending: ReviewedEntry[] = []
  /** The size of the pending entries, in characters. */
  #size = 0
  /** The time at which this process received the first pending entry. */
  #since = 0
  #scheduled = false
  /** The log ended or began a new epoch: live readers need more than a batch. */
  #stateChanged = false

  constructor (channel: string, latency: Histogram) {
    this.#channel = channel
    this.#latency = latency
  }

  /** The number of live readers. */
  get size (): number { return this.#live.size }
  get epoch (): string { return this.#epoch }

  add (reader: LiveReader): void { this.#live.add(reader) }
  remove (reader: LiveReader): void {
    this.#live.delete(reader)
    if (this.#live.size === 0) this.windows = undefined
  }

  /** Queues an entry for the live readers. Nothing is sent before `schedule()`, unless the batch is full. */
  push (entry: ReviewedEntry): void {
    if (this.#live.size === 0) return
    const last = this.#pending.at(-1)
    if (this.#size >= MAX_BATCH || (last !== undefined && !this.continues(last, entry))) this.flush()
    if (this.#pending.length === 0) this.#since = now()
    this.#pending.push(entry)
    this.#size += entry.data.length + OVERHEAD
  }

  /** Delivers the queued entries, and a state change, at the end of this turn of the event loop. */
  schedule (): void {
    if (this.#scheduled || (this.#pending.length === 0 && !this.#stateChanged)) return
    // Ticks run after the microtasks: events published now join the batch, and none waits for a timer.
    this.#scheduled = true
    // A subscriber that publishes what it receives would keep the ticks busy forever: then yield to the loop.
    // Runs in no publisher's scope: under load each turn starts the next one.
    sharedScope.runInAsyncScope(budgetSpent() ? yieldToLoop : process.nextTick, undefined, this.#run)
  }

  /** Notifies the live readers that the log ended or began a new epoch, after the queued entries. */
  notifyStateChange (): void { this.#stateChanged = true }

  /** Delivers at once the events published before the call, but not those that a delivery publishes. */
  flush (): void {
    if (this.#delivery !== undefined) this.#deliver(Infinity)
    this.#deliver(Infinity)
  }

  /** Drops the delivery under way and the queued entries. The next entries are of this epoch. */
  reset (epoch: string): void {
    this.#epoch = epoch
    this.#delivery = undefined
    this.#pending = []
    this.#size = 0
  }

  /** Whether an entry may follow another one in a batch. */
  protected continues (last: ReviewedEntry, entry: ReviewedEntry): boolean { return last.offset + 1 === entry.offset }

  protected batchOf (epoch: string, entries: readonly ReviewedEntry[]): FrameBatch {
    return new FrameBatch(epoch, entries, EVENT_STREAM, this)
  }

  /** Delivers the current or next batch to at most `max` readers. Returns the unused part of `max`; 0: not done. */
  #deliver (max: number): number {
    const delivery = this.#delivery ??= this.#next()
    if (delivery === undefined) return max
    const left = delivery.advance(max)
    // A reader may have published so much that the delivery was finished within the call.
    if (left > 0 && this.#delivery === delivery) this.#finish(delivery)
    return left
  }

  #next (): Delivery | undefined {
    const entries = this.#pending.splice(0)
    this.#size = 0
    return entries.length === 0
      ? undefined
      : new Delivery(this.batchOf(this.#epoch, entries), this.#live, this.#since)
  }

  #finish ({ batch: { epoch, from, to }, subscribers, since }: Delivery): void {
    this.#delivery = undefined
    const latency = now() - since
    this.#latency.record(latency)
    if (!diagnostics.deliver.hasSubscribers) return
    diagnostics.deliver.publish({ channel: this.#channel, epoch, from: from + 1, to, subscribers, latency })
  }

  readonly #run = (): void => {
    // Stays scheduled until all is delivered: events that readers publish are delivered here, within the same share.
    for (let left = READERS_PER_TURN; this.#delivery !== undefined || this.#pending.length > 0;) {
      left = this.#deliver(left)
      if (left > 0) continue
      yieldToLoop(this.#run)
      return
    }
    this.#scheduled = false
    if (!this.#stateChanged) return
    this.#stateChanged = false
    // A copy of the set: a reader that resumes at the end is added again, and the loop would not end.
    for (const reader of [...this.#live]) reader.onStateChange()
  }
}
