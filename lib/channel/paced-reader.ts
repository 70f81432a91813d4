import type { ChannelReader } from './channel-reader.ts'
import { CompactedReader } from './compacted-reader.ts'
import type { Compaction } from './compaction.ts'
import type { Feed } from './feed.ts'
import type { FrameBatch } from './frame-batch.ts'
import type { LogState } from '../log/log.ts'
import type { Pace } from './pace.ts'
import { PacedBatch, type Pacer } from './pacer.ts'
import type { Projection } from './projection.ts'
import type { SubscriberContext } from './subscriber-context.ts'

/**
 * Reads a channel at a pace: live from a pacer, and behind its end the latest event of each key. It reads no further
 * than the pacer has sent, so that it joins the live readers at their offset.
 */
export class PacedReader extends CompactedReader {
  readonly #pace: Pace
  /** The pacer of the pace, from `attach` on. */
  #pacer: Pacer | undefined

  constructor (feed: Feed, projection: Projection, subscriber: SubscriberContext<ChannelReader>, pace: Pace) {
    super(feed, projection, subscriber)
    this.#pace = pace
    // The shared frames have positions.
    if (subscriber.omitsPositions) this.sharesFrames = false
  }

  protected override get compaction (): Compaction { return this.#pacer!.compaction }
  protected override get compacts (): boolean { return true }
  protected override get end (): number { return this.#pacer!.position }
  protected override get ended (): boolean { return super.ended && this.end >= this.feed.newest }

  override attach (): LogState | Promise<LogState> {
    if (!this.stopped) this.#pacer = this.feed.joinPacer(this.#pace)
    return super.attach()
  }

  override stop (): void {
    if (this.stopped) return
    super.stop()
    if (this.#pacer === undefined) return
    this.#pacer.detachLive(this)
    this.feed.leavePacer(this.#pacer)
  }

  override flush (): void { this.#pacer?.flushTo(this) }

  protected override join (): void { this.#pacer!.attachLive(this) }
  protected override leave (): void { this.#pacer!.detachLive(this) }

  protected override share (batch: FrameBatch): void {
    super.share(batch)
    if (batch instanceof PacedBatch && batch.merged > 0) this.feed.recordMerge(batch.merged, this.subscriber.record)
  }
}
