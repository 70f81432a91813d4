import type { ChannelPosition } from '../channel/channel.ts'
import { now } from '../clock.ts'
import type { EventOf } from '../contract/event-types.ts'
import type { SourceContext } from '../source/source.ts'

/** The events for a viewer of a channel's tail. */
export const tailEvents = {
  /**
   * `data` is text or JSON, truncated; `size` is its full length. `skipped`: events before this one that are not shown.
   */
  event: {
    type: 'object',
    properties: {
      event: { type: 'string' },
      id: { type: 'string' },
      data: { type: 'string' },
      size: { type: 'integer' },
      json: { type: 'boolean' },
      skipped: { type: 'integer' }
    },
    required: ['event', 'id', 'data', 'size', 'json', 'skipped']
  },
  /** The channel ended. */
  ended: { type: 'null' }
} as const

// The number of stored events that a tail begins with.
const BACKLOG = 20
// The most events per second. A person cannot read more, and the page would freeze.
const MAX_RATE = 50
// The longest data that is shown, in characters.
const MAX_DATA = 4_000

/** A channel or a presence. */
interface TailedChannel {
  readonly name: string
  position: () => Promise<ChannelPosition>
  subscribe: (options: { after: string, pace: null, signal: AbortSignal }) =>
  AsyncIterable<{ event: string, id: string, data: unknown }>
}

/** The tails of channels that the inspector has open. */
export class ChannelTails {
  readonly #counts = new Map<string, number>()

  /** Returns the number of open tails of a channel. Each is a subscriber of it. */
  count (channel: string): number { return this.#counts.get(channel) ?? 0 }

  /** Yields the last events of a channel, then new ones as they are published. */
  async * open (
    channel: TailedChannel,
    { signal, shutdownSignal }: Pick<SourceContext, 'signal' | 'shutdownSignal'>
  ): AsyncGenerator<EventOf<typeof tailEvents>> {
    const { epoch, oldest, newest } = await channel.position()
    let second = { since: now(), events: 0 }
    let skipped = 0
    this.#add(channel.name, 1)
    try {
      for await (const { event, id, data } of channel.subscribe({
        after: `${epoch}-${Math.max(0, oldest - 1, newest - BACKLOG)}`,
        pace: null,
        signal
      })) {
        if (now() - second.since > 1_000) second = { since: now(), events: 0 }
        if (++second.events > MAX_RATE) {
          skipped++
          continue
        }
        const json = typeof data !== 'string'
        const text = json ? JSON.stringify(data) : data
        yield { event: 'event', data: { event, id, data: text.slice(0, MAX_DATA), size: text.length, json, skipped } }
        skipped = 0
      }
      if (!shutdownSignal.aborted) yield { event: 'ended', data: null }
    } catch (error) {
      // The page did not read. It reconnects, and gets the last events again.
      if ((error as { code?: unknown }).code !== 'FST_SSE_LAGGING') throw error
    } finally {
      this.#add(channel.name, -1)
    }
  }

  #add (channel: string, change: number): void {
    const count = this.count(channel) + change
    if (count > 0) this.#counts.set(channel, count)
    else this.#counts.delete(channel)
  }
}
