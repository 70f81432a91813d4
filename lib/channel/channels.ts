import type { FastifyBaseLogger } from 'fastify'
import { Channel } from './channel.ts'
import { FST_SSE_CHANNEL_OPTIONS } from '../errors.ts'
import type { Contract } from '../contract/contract.ts'
import type { EventMap } from '../contract/event-types.ts'
import type { EventLogFactory } from '../log/log.ts'
import { logSafely } from '../log-safely.ts'
import { sharedScope } from '../scope.ts'
import { checkedName, difference, resolveChannel, type ChannelOptions, type ChannelSettings } from './settings.ts'
import type { ChannelStats, Statistics } from '../metrics/statistics.ts'
import { ActiveChannel } from './active-channel.ts'

export interface ChannelsSetup {
  eventLog: EventLogFactory
  log: FastifyBaseLogger
  statistics: Statistics
  /** The contract of a channel's events. */
  compile: (events: EventMap | undefined, place: string) => Contract
}

interface Live { channel: Channel, active: ActiveChannel, options: unknown }

/** The names that are looked at every so often, and what looks at them. */
interface Sweep { names: Set<string>, timer: NodeJS.Timeout }

/** The channels of one registration. One that is idle, with nothing left to resume, leaves memory by itself. */
export class Channels {
  readonly #setup: ChannelsSetup
  readonly #live = new Map<string, Live>()
  readonly #rounds = new Map<number, Sweep>()
  #closed = false

  constructor (setup: ChannelsSetup) {
    this.#setup = setup
  }

  /**
   * The channel of that name, made when there is none. FST_SSE_OPTION for a bad name or option, FST_SSE_MAP and
   * FST_SSE_SCHEMA for events that cannot be used, FST_SSE_CHANNEL_OPTIONS when it is there with other options. After
   * the server has ended its streams, the channel rejects every call with FST_SSE_CLOSING. `reply.sse` refuses a stream
   * of it as any other, so that its client comes back.
   */
  channel<const M extends EventMap = EventMap> (name: string, options: ChannelOptions<M> = NONE): Channel<M> {
    const known = this.#live.get(name)
    if (known?.options === options) return known.channel as unknown as Channel<M>
    const settings = resolveChannel(name, options)
    const channel = this.#closed ? this.#make(settings, options) : this.#get(settings, options).channel
    return channel as unknown as Channel<M>
  }

  /**
   * The channel of that name in memory, with any options; undefined where there is none. FST_SSE_OPTION for a bad name.
   */
  find (name: string): Channel | undefined {
    const live = this.#live.get(name)
    if (live === undefined) checkedName(name)
    return live?.channel
  }

  stats (): Record<string, ChannelStats> {
    return Object.fromEntries([...this.#live].map(([name, { active }]) => [name, active.stats()]))
  }

  close (): void {
    this.#closed = true
    for (const { timer } of this.#rounds.values()) clearInterval(timer)
    for (const { active } of this.#live.values()) this.#guard(active, () => active.close())
    this.#live.clear()
  }

  #get (settings: ChannelSettings, options: unknown, channel?: Channel): Live {
    const { name, events, history } = settings
    const known = this.#live.get(name)
    if (known !== undefined) {
      const differing = difference(known.active.settings, settings)
      if (differing !== undefined) throw new FST_SSE_CHANNEL_OPTIONS(name, differing)
      return known
    }
    const { eventLog: openLog, log, statistics, compile } = this.#setup
    const contract = compile(events, `channel '${name}'`)
    const active = sharedScope.runInAsyncScope(() => new ActiveChannel({ settings, eventLog: openLog, log, statistics, contract }))
    const live = { channel: channel ?? this.#make(settings, options), active, options }
    this.#live.set(name, live)
    this.#watch(name, history.maxAge)
    return live
  }

  #make (settings: ChannelSettings, options: unknown): Channel {
    const { name, start } = settings
    const channel: Channel = new Channel(name, start, {
      find: () => {
        const active = this.#live.get(name)?.active
        return active === undefined || difference(active.settings, settings) !== undefined ? undefined : active
      },
      get: () => this.#closed ? undefined : this.#get(settings, options, channel).active,
      refused: (call, err) => logSafely(this.#setup.log, 'warn', { err, channel: name }, `sse ${call} refused`)
    })
    return channel
  }

  /** Short lives are looked at often, and only they. */
  #watch (name: string, age: number): void {
    const period = periodOf(age)
    let round = this.#rounds.get(period)
    if (round === undefined) {
      round = { names: new Set(), timer: sharedScope.runInAsyncScope(setInterval, undefined, () => this.#sweep(period), period).unref() }
      this.#rounds.set(period, round)
    }
    round.names.add(name)
  }

  #sweep (period: number): void {
    const { names, timer } = this.#rounds.get(period)!
    for (const name of names) {
      const { active } = this.#live.get(name)!
      this.#guard(active, () => {
        if (!active.isIdle()) return
        names.delete(name)
        this.#live.delete(name)
        active.close()
      })
    }
    if (names.size > 0) return
    clearInterval(timer)
    this.#rounds.delete(period)
  }

  /** A log of the user's may throw: that is no other channel's trouble. */
  #guard ({ settings: { name } }: ActiveChannel, step: () => void): void {
    try {
      step()
    } catch (err) {
      logSafely(this.#setup.log, 'error', { err, channel: name }, 'sse log failed')
    }
  }
}

// One object: asking without options is asking with the same ones.
const NONE = {}

/** A quarter of the age or less, from 10 milliseconds to 5 seconds; powers of two, so that there are few timers. */
const periodOf = (age: number): number => 10 * 2 ** Math.floor(Math.log2(Math.max(1, Math.min(512, age / 40))))
