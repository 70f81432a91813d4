import type { FastifyInstance } from 'fastify'
import type { Channel } from '../channel/channel.ts'
import type { ChannelOptions } from '../channel/settings.ts'
import type { EventOf } from '../contract/event-types.ts'
import { sharedScope } from '../scope.ts'
import type { ChannelSource } from '../source/source.ts'
import type { Sampler, Sample } from './sampler.ts'
import { reports } from './report.ts'
import { View } from './view.ts'

const INTERVAL = 1_000
// A viewer that lags by more than one report, or reconnects, gets a full report as snapshot.
const OPTIONS: ChannelOptions<typeof reports> = { events: reports, history: { maxEvents: 1, maxAge: 10 * INTERVAL } }

interface ActiveView { readonly view: View, readonly channel: Channel<typeof reports> }

/**
 * Takes one sample a second for all viewers. Viewers with the same filter share a channel, so a report is made and
 * encoded once. The timer runs only while there is a viewer.
 */
export class Dashboard {
  readonly #sampler: Pick<Sampler, 'sample'>
  readonly #sse: Pick<FastifyInstance['sse'], 'channel'>
  readonly #views = new Map<string, ActiveView>()
  #sample: Sample | undefined
  #timer: NodeJS.Timeout | undefined

  /** `sse`: the registration of the inspector itself, which has the channels of its reports. */
  constructor (sampler: Pick<Sampler, 'sample'>, sse: Pick<FastifyInstance['sse'], 'channel'>) {
    this.#sampler = sampler
    this.#sse = sse
  }

  /** Returns a source of reports on the streams and channels that match a filter. */
  view (filter: string): ChannelSource<EventOf<typeof reports>> {
    const channel = this.#sse.channel(`view ${filter}`, OPTIONS)
    return channel.subscribe({ snapshot: () => ({ event: 'report', data: this.#open(filter, channel).view.full }) })
  }

  stop (): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#sample = undefined
  }

  /** Called when a viewer connects; the viewer is already counted as a subscriber. */
  #open (filter: string, channel: Channel<typeof reports>): ActiveView {
    const sample = this.#sample ??= this.#sampler.sample()
    let active = this.#views.get(filter)
    if (active === undefined) this.#views.set(filter, active = { view: new View(filter, sample), channel })
    this.#timer ??= sharedScope.runInAsyncScope(setInterval, undefined, this.#tick, INTERVAL).unref()
    return active
  }

  readonly #tick = (): void => {
    for (const [filter, { channel }] of this.#views) if (channel.subscribers === 0) this.#views.delete(filter)
    if (this.#views.size === 0) return this.stop()
    const sample = this.#sample = this.#sampler.sample()
    for (const { view, channel } of this.#views.values()) {
      channel.publish({ event: 'report', data: view.update(sample) })
    }
  }
}
