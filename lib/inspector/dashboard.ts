import type { FastifyInstance } from 'fastify'
import type { Channel } from '../channel/channel.ts'
import type { ChannelOptions } from '../channel/settings.ts'
import type { EventOf } from '../contract/event-types.ts'
import { sharedScope } from '../scope.ts'
import type { ChannelSource } from '../source/source.ts'
import type { Sampler, Sample } from './sampler.ts'
import { reports } from './report.ts'
import { View } from './view.ts'

const PERIOD = 1_000
// Who falls behind by more than one change, or comes back, is given everything anew.
const OPTIONS: ChannelOptions<typeof reports> = { events: reports, history: { maxEvents: 1, maxAge: 10 * PERIOD } }

interface Watched { readonly view: View, readonly channel: Channel<typeof reports> }

/**
 * One look a second for all who watch, and one channel for all of them with the same filter: a report is made and written once. The
 * timer is there while somebody watches.
 */
export class Dashboard {
  readonly #sampler: Pick<Sampler, 'sample'>
  readonly #own: Pick<FastifyInstance['sse'], 'channel'>
  readonly #watched = new Map<string, Watched>()
  #reading: Sample | undefined
  #timer: NodeJS.Timeout | undefined

  /** `own`: where the channels of the inspector itself are. */
  constructor (census: Pick<Sampler, 'sample'>, own: Pick<FastifyInstance['sse'], 'channel'>) {
    this.#sampler = census
    this.#own = own
  }

  /** What passes a filter. */
  view (filter: string): ChannelSource<EventOf<typeof reports>> {
    const channel = this.#own.channel(`view ${filter}`, OPTIONS)
    return channel.subscribe({ snapshot: () => ({ event: 'report', data: this.#open(filter, channel).view.whole }) })
  }

  stop (): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#reading = undefined
  }

  /** Somebody comes, and counts among the channel's subscribers already. */
  #open (filter: string, channel: Channel<typeof reports>): Watched {
    const reading = this.#reading ??= this.#sampler.sample()
    let watched = this.#watched.get(filter)
    if (watched === undefined) this.#watched.set(filter, watched = { view: new View(filter, reading), channel })
    this.#timer ??= sharedScope.runInAsyncScope(setInterval, undefined, this.#tick, PERIOD).unref()
    return watched
  }

  readonly #tick = (): void => {
    for (const [filter, { channel }] of this.#watched) if (channel.subscribers === 0) this.#watched.delete(filter)
    if (this.#watched.size === 0) return this.stop()
    const reading = this.#reading = this.#sampler.sample()
    for (const { view, channel } of this.#watched.values()) channel.publish({ event: 'report', data: view.change(reading) })
  }
}
