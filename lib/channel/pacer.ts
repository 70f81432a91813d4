import { clearTimeout, setTimeout } from '../clock.ts'
import { Broadcast, type LiveReader } from './broadcast.ts'
import type { Compaction, CompactionFollower } from './compaction.ts'
import { FrameBatch, type BatchOrigin, type ReviewedEntry } from './frame-batch.ts'
import type { Histogram } from '../metrics/histogram.ts'
import { sharedScope } from '../scope.ts'
import { EVENT_STREAM, type WireFormat } from '../wire/format.ts'

// Events wait up to this size in characters: then they are sent before the interval is over.
const MAX_WAITING = 1_048_576
// The cost of an entry beside its data, in characters.
const OVERHEAD = 64

/** Entries of a paced channel, without those that a later one of their key replaces. */
export class PacedBatch extends FrameBatch {
  /** The offset of its readers before the batch. */
  override readonly from: number

  constructor (
    epoch: string,
    entries: readonly ReviewedEntry[],
    { format = EVENT_STREAM, from, origin }: { format?: WireFormat, from: number, origin?: BatchOrigin }
  ) {
    super(epoch, entries, format, origin)
    this.from = from
  }

  /** The number of entries that are left out. */
  get merged (): number { return this.to - this.from - this.entries.length }

  /** The position precedes each event that is not the next one. */
  protected override encode (format: WireFormat): string {
    let last = this.from
    let text = ''
    for (const entry of this.entries) {
      if (entry.offset > last + 1) text += format.control({ id: `${this.epoch}-${entry.offset - 1}` })
      text += format.entry(entry, `${this.epoch}-${entry.offset}`)
      last = entry.offset
    }
    return text
  }

  protected override convert (format: WireFormat, origin: BatchOrigin): FrameBatch {
    return new PacedBatch(this.epoch, this.entries, { format, from: this.from, origin })
  }
}

/** Delivers the events of each step to the live readers of a pacer. */
class PacedBroadcast extends Broadcast {
  /** The offset after which the next batch continues. */
  from = 0

  override reset (epoch: string): void {
    super.reset(epoch)
    this.from = 0
  }

  /** The entries up to the offset are in no batch. A reader that has not read them does not get the next batch. */
  skipTo (offset: number): void {
    this.flush()
    this.from = offset
  }

  protected override continues (): boolean { return true }

  protected override batchOf (epoch: string, entries: readonly ReviewedEntry[]): FrameBatch {
    const { from } = this
    this.from = entries.at(-1)!.offset
    return new PacedBatch(epoch, entries, { from, origin: this })
  }
}

/**
 * The subscribers of a channel with one pace, and the events that wait for its next step. An event after a quiet
 * interval is sent at once, with all of the same turn, and starts an interval. At its end, the latest event of each key
 * is sent and starts the next one. An event without a key is sent at once, after all that wait. So the events are sent
 * in the order of the log, and each id is a position from which a client can resume.
 */
export class Pacer implements CompactionFollower {
  readonly every: number
  readonly compaction: Compaction<Pacer>
  /** Its subscribers, at any position. */
  users = 0
  /** The offset up to which all events were sent, or were replaced by an event that waits or was sent. */
  position: number
  readonly #broadcast: PacedBroadcast
  readonly #waiting = new Map<unknown, ReviewedEntry>()
  /** The waiting entries for streams that end before the step. All streams of a server end at once. */
  #rest: PacedBatch | undefined
  /** The size of the waiting entries, in characters. */
  #size = 0
  #timer: NodeJS.Timeout | undefined
  /** Whether the events of this turn are sent at its end. */
  #leads = false

  constructor (
    every: number,
    { name, epoch, latency, compaction }: {
      name: string
      epoch: string
      latency: Histogram
      compaction: Compaction<Pacer>
    }
  ) {
    this.every = every
    this.compaction = compaction
    this.#broadcast = new PacedBroadcast(name, latency)
    this.#broadcast.reset(epoch)
    this.position = compaction.to
  }

  /** The number of live readers. */
  get size (): number { return this.#broadcast.size }

  attachLive (reader: LiveReader): void { this.#broadcast.add(reader) }
  detachLive (reader: LiveReader): void { this.#broadcast.remove(reader) }

  /** Adds the newest entry. It replaces an entry of its key that waits. */
  add (key: unknown, entry: ReviewedEntry, isKeyed: boolean): void {
    const earlier = this.#waiting.get(key)
    if (earlier !== undefined) {
      this.#waiting.delete(key)
      this.#size -= earlier.data.length + OVERHEAD
    }
    this.#waiting.set(key, entry)
    this.#rest = undefined
    this.#size += entry.data.length + OVERHEAD
    if (!isKeyed) this.#step(this.#waiting.size > 1)
    else if (this.#size >= MAX_WAITING) this.#step()
    else if (this.#timer === undefined && !this.#leads) {
      this.#leads = true
      // Ticks run after the microtasks: the events of this turn are sent together.
      sharedScope.runInAsyncScope(process.nextTick, undefined, this.#lead)
    }
  }

  /** Called for an entry that no subscriber receives. */
  pass (offset: number): void {
    if (this.#waiting.size === 0) this.position = offset
  }

  /** Called when the entries up to an offset were not added: the readers read them from the log. */
  skipTo (offset: number): void {
    this.#step()
    this.#broadcast.skipTo(offset)
    this.position = offset
    this.#notify()
  }

  /** Called when the log has ended: sends all that waits. */
  end (): void {
    this.#step()
    this.#notify()
    this.#stopTimer()
  }

  /** Delivers at once all events so far, also those that wait. */
  flush (): void {
    this.#step()
    this.#broadcast.flush()
  }

  /** Delivers at once all events so far to one reader, whose stream is about to end. */
  flushTo (reader: LiveReader): void {
    this.#broadcast.flush()
    if (this.#waiting.size === 0) return
    const { epoch, from } = this.#broadcast
    reader.deliver(this.#rest ??= new PacedBatch(epoch, [...this.#waiting.values()], { from }))
  }

  /** Drops all that waits: the next entries are of this epoch. */
  reset (epoch: string, newest: number): void {
    this.stop()
    this.#broadcast.reset(epoch)
    this.position = newest
    this.#notify()
  }

  stop (): void {
    this.#clear()
    this.#stopTimer()
  }

  /** `starts`: whether an interval starts. */
  #step (starts = true): void {
    const entries = [...this.#waiting.values()]
    this.#clear()
    this.position = this.compaction.to
    if (entries.length === 0) return
    if (starts) {
      this.#stopTimer()
      this.#timer = sharedScope.runInAsyncScope(setTimeout, undefined, this.#tick, this.every)
    }
    for (const entry of entries) this.#broadcast.push(entry)
    this.#broadcast.schedule()
  }

  #clear (): void {
    this.#waiting.clear()
    this.#rest = undefined
    this.#size = 0
  }

  #notify (): void {
    if (this.#broadcast.size === 0) return
    this.#broadcast.notifyStateChange()
    this.#broadcast.schedule()
  }

  #stopTimer (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  readonly #lead = (): void => {
    this.#leads = false
    if (this.#timer === undefined) this.#step()
  }

  readonly #tick = (): void => {
    this.#timer = undefined
    if (this.#waiting.size > 0) this.#step()
  }
}
