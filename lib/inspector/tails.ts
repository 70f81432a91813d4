import { Type } from '@sinclair/typebox'
import type { Channel } from '../channel/channel.ts'
import { now } from '../clock.ts'
import type { EventOf } from '../contract/event-types.ts'
import type { SourceContext } from '../source/source.ts'

/** What the tail of a channel is told. */
export const tailEvents = {
  /** `data` is text or JSON, cut; `size` is how long it was. `skipped`: events before this one that are not shown. */
  event: Type.Object({ event: Type.String(), id: Type.String(), data: Type.String(), size: Type.Integer(), json: Type.Boolean(), skipped: Type.Integer() }),
  /** The channel ended. */
  over: Type.Null()
}

// How many of the events before are shown.
const BEFORE = 20
// More events a second than this nobody reads, and a page that draws them all stands still.
const PER_SECOND = 50
const SIZE = 4_000

/** The ends of channels, as they are watched. */
export class ChannelTails {
  readonly #counts = new Map<string, number>()

  /** How many watch that channel: among its subscribers, they are ours. */
  of (channel: string): number { return this.#counts.get(channel) ?? 0 }

  /** The last events of a channel, and what comes. */
  async * follow (channel: Channel, { signal, shutdownSignal: closing }: Pick<SourceContext, 'signal' | 'shutdownSignal'>): AsyncGenerator<EventOf<typeof tailEvents>> {
    const { epoch, oldest, newest } = await channel.position()
    let pace = { since: now(), events: 0 }
    let skipped = 0
    this.#add(channel.name, 1)
    try {
      for await (const { event, id, data } of channel.subscribe({ after: `${epoch}-${Math.max(0, oldest - 1, newest - BEFORE)}`, signal })) {
        if (now() - pace.since > 1_000) pace = { since: now(), events: 0 }
        if (++pace.events > PER_SECOND) {
          skipped++
          continue
        }
        const json = typeof data !== 'string'
        const text = json ? JSON.stringify(data) : data
        yield { event: 'event', data: { event, id, data: text.slice(0, SIZE), size: text.length, json, skipped } }
        skipped = 0
      }
      if (!closing.aborted) yield { event: 'over', data: null }
    } catch (error) {
      // The page did not read: it comes back, to the last events of then.
      if ((error as { code?: unknown }).code !== 'FST_SSE_LAGGING') throw error
    } finally {
      this.#add(channel.name, -1)
    }
  }

  #add (channel: string, more: number): void {
    const count = this.of(channel) + more
    if (count > 0) this.#counts.set(channel, count)
    else this.#counts.delete(channel)
  }
}
