import { ChannelReader } from './channel-reader.ts'
import type { CompactedBatch, Compaction } from './compaction.ts'
import type { Cursor } from '../wire/cursor.ts'
import type { LogBatch, LogState } from '../log/log.ts'
import type { StartPosition } from './start-position.ts'

/**
 * Reads a channel with `compactBy`. It sends all events while the subscriber has room. A subscriber that had none gets
 * the latest event of each key after its position. The history before its start is sent in full: it may exceed the
 * buffer of any client, so that a lack of room does not mean a slow one.
 */
export class CompactedReader extends ChannelReader {
  /** Whether the subscriber had no room since it was live. */
  #slow = false
  /** The history up to this offset is sent in full, unless it is evicted. */
  #inFull = 0

  protected get compaction (): Compaction { return this.feed.compaction! }
  /** Whether the compaction is read in place of the log. */
  protected get compacts (): boolean { return this.#slow }

  override open (
    state: LogState,
    cursor: Cursor | 'malformed' | undefined
  ): StartPosition | Promise<StartPosition> {
    this.compaction.begin()
    return super.open(state, cursor)
  }

  protected override moveTo (start: StartPosition): StartPosition {
    this.#slow = false
    this.#inFull = this.feed.newest
    this.compaction.cover(start.position)
    return super.moveTo(start)
  }

  protected override join (): void {
    this.#slow = false
    super.join()
  }

  protected override whileBehind (): void {
    if (this.position >= this.#inFull && !this.subscriber.hasRoom()) this.#slow = true
  }

  /** Continues with the compaction: it was loaded before the entries were evicted. */
  protected override onEvicted (): void {
    this.#slow = true
    // The log is older than the feed: both have another epoch at once.
    if (this.epoch !== this.feed.epoch) this.resumeLater()
  }

  protected override readNext (limit: number): LogBatch | Promise<LogBatch> {
    return this.compacts ? this.compaction.read(this, limit, this.end) : super.readNext(limit)
  }

  protected override replay (batch: LogBatch | CompactedBatch): void {
    if (batch.epoch !== this.epoch) return super.replay(batch)
    if (!('lost' in batch)) {
      const first = batch.entries[0]?.offset ?? batch.newest + 1
      return first > this.position + 1 ? this.onEvicted() : super.replay(batch)
    }
    if (batch.lost > 0 && !this.#report(batch)) return
    if (this.forwardAll(batch.entries) && batch.to > this.position) this.jump(batch.to)
  }

  protected override jump (offset: number): void {
    this.feed.recordMerge(offset - this.position, this.subscriber.record)
    super.jump(offset)
  }

  /** Reports lost events, all of which precede the first entry. Returns whether the reader continues with the batch. */
  #report ({ lost, entries, to }: CompactedBatch): boolean {
    const position = entries.length === 0 ? to : entries[0]!.offset - 1
    const merged = position - this.position - lost
    // Entries that were evicted before the first read do not make a subscriber slow.
    if (this.isFresh) this.subscriber.gap(this, lost, position)
    else if (!this.continueAfter(lost, position)) return false
    if (merged > 0) this.feed.recordMerge(merged, this.subscriber.record)
    return true
  }
}
