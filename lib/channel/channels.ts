import type { FastifyBaseLogger } from 'fastify'
import { Channel } from './channel.ts'
import { ChannelFamily } from './channel-family.ts'
import { FST_SSE_CHANNEL_OPTIONS, FST_SSE_CLOSING } from '../errors.ts'
import type { Contract } from '../contract/contract.ts'
import type { EventMap } from '../contract/event-types.ts'
import type { EventLog, EventLogFactory, HistoryLimits } from '../log/log.ts'
import { logSafely } from '../log-safely.ts'
import { sharedScope } from '../scope.ts'
import { validateName, difference, resolveChannel, type ChannelOptions, type ChannelSettings } from './settings.ts'
import type { ChannelStats, Statistics } from '../metrics/statistics.ts'
import { ActiveChannel } from './active-channel.ts'

export interface ChannelsSetup {
  eventLog: EventLogFactory
  log: FastifyBaseLogger
  statistics: Statistics
  /** Compiles the contract of a channel's events. */
  compile: (events: EventMap | undefined, place: string) => Contract
}

interface OpenChannel { channel: Channel, active: ActiveChannel, options: unknown }

/** The channels with one sweep period, and its timer. */
interface Sweep { names: Set<string>, timer: NodeJS.Timeout }

/** The channels of one registration. An idle channel whose history has expired leaves memory. */
export class Channels {
  readonly #setup: ChannelsSetup
  readonly #channels = new Map<string, OpenChannel>()
  readonly #sweeps = new Map<number, Sweep>()
  #closed = false

  constructor (setup: ChannelsSetup) {
    this.#setup = setup
  }

  /**
   * Returns the channel of that name, created if there is none. Throws FST_SSE_OPTION for a bad name or option,
   * FST_SSE_MAP and FST_SSE_SCHEMA for an unusable event map, FST_SSE_CHANNEL_OPTIONS if the channel has other options.
   * After the server has ended its streams, the channel rejects every call with FST_SSE_CLOSING. `reply.sse` rejects a
   * stream of it like any other, so that its client reconnects.
   */
  channel<const M extends EventMap = EventMap> (name: string, options: ChannelOptions<M> = NO_OPTIONS): Channel<M> {
    const existing = this.#channels.get(name)
    if (existing?.options === options) return existing.channel as unknown as Channel<M>
    const settings = resolveChannel(name, options)
    const channel = this.#closed ? this.#make(settings, options) : this.#get(settings, options).channel
    return channel as unknown as Channel<M>
  }

  /** Returns a family of channels with the same options. Throws as `channel` does. */
  family<const M extends EventMap = EventMap> (
    name: string,
    options: ChannelOptions<M> = NO_OPTIONS
  ): ChannelFamily<M> {
    const family = new ChannelFamily(name, this, options)
    resolveChannel(name, options)
    this.#setup.compile(options.events, `channel family '${name}'`)
    return family
  }

  /** Returns the active channel of that name, created if there is none. Throws FST_SSE_CLOSING after the close. */
  active (name: string, options: unknown): ActiveChannel {
    if (this.#closed) throw new FST_SSE_CLOSING()
    return this.#get(resolveChannel(name, options), options).active
  }

  /** Returns the active channels with that prefix. */
  withPrefix (prefix: string): ActiveChannel[] {
    return [...this.#channels].filter(([name]) => name.startsWith(prefix)).map(([, { active }]) => active)
  }

  /** Opens the log of a name, for a caller that closes it. */
  open (name: string, history: HistoryLimits): EventLog {
    return sharedScope.runInAsyncScope(this.#setup.eventLog, undefined, name, history)
  }

  /** Runs a step on the log of a channel. Without an active channel, the log is closed after the step. */
  async withLog<T> (name: string, history: HistoryLimits, step: (log: EventLog) => T | Promise<T>): Promise<T> {
    if (this.#closed) throw new FST_SSE_CLOSING()
    const active = this.#channels.get(name)?.active
    if (active !== undefined) return await step(active.feed.log)
    const log = this.open(name, history)
    try {
      return await step(log)
    } finally {
      log.close()
    }
  }

  /**
   * Returns the channel of that name in memory, with any options; undefined if there is none. Throws FST_SSE_OPTION for
   * a bad name.
   */
  find (name: string): Channel | undefined {
    const openChannel = this.#channels.get(name)
    if (openChannel === undefined) validateName(name)
    return openChannel?.channel
  }

  stats (): Record<string, ChannelStats> {
    return Object.fromEntries([...this.#channels].map(([name, { active }]) => [name, active.stats()]))
  }

  close (): void {
    this.#closed = true
    for (const { timer } of this.#sweeps.values()) clearInterval(timer)
    for (const { active } of this.#channels.values()) this.#guard(active, () => active.close())
    this.#channels.clear()
  }

  #get (settings: ChannelSettings, options: unknown, channel?: Channel): OpenChannel {
    const { name, events, history } = settings
    const existing = this.#channels.get(name)
    if (existing !== undefined) {
      const option = difference(existing.active.settings, settings)
      if (option !== undefined) throw new FST_SSE_CHANNEL_OPTIONS(name, option)
      return existing
    }
    const { eventLog, log, statistics, compile } = this.#setup
    const contract = compile(events, `channel '${name}'`)
    const active = sharedScope.runInAsyncScope(() =>
      new ActiveChannel({ settings, eventLog, log, statistics, contract })
    )
    const openChannel = { channel: channel ?? this.#make(settings, options), active, options }
    this.#channels.set(name, openChannel)
    this.#addToSweep(name, history.maxAge)
    return openChannel
  }

  #make (settings: ChannelSettings, options: unknown): Channel {
    const { name, start } = settings
    const channel: Channel = new Channel(name, start, {
      find: () => {
        const active = this.#channels.get(name)?.active
        return active === undefined || difference(active.settings, settings) !== undefined ? undefined : active
      },
      get: () => this.#closed ? undefined : this.#get(settings, options, channel).active,
      onRejected: (call, err) => logSafely(this.#setup.log, 'warn', { err, channel: name }, `sse ${call} rejected`)
    })
    return channel
  }

  /** Adds a channel to the sweep for its age: a short history is swept often, a long one rarely. */
  #addToSweep (name: string, age: number): void {
    const period = periodOf(age)
    let sweep = this.#sweeps.get(period)
    if (sweep === undefined) {
      sweep = {
        names: new Set(),
        timer: sharedScope.runInAsyncScope(setInterval, undefined, () =>
          this.#sweep(period), period).unref()
      }
      this.#sweeps.set(period, sweep)
    }
    sweep.names.add(name)
  }

  #sweep (period: number): void {
    const { names, timer } = this.#sweeps.get(period)!
    for (const name of names) {
      const { active } = this.#channels.get(name)!
      this.#guard(active, () => {
        if (!active.isIdle()) return
        names.delete(name)
        this.#channels.delete(name)
        active.close()
      })
    }
    if (names.size > 0) return
    clearInterval(timer)
    this.#sweeps.delete(period)
  }

  /** Logs an error of a step: the log of the user may throw, which must not affect another channel. */
  #guard ({ settings: { name } }: ActiveChannel, step: () => void): void {
    try {
      step()
    } catch (err) {
      logSafely(this.#setup.log, 'error', { err, channel: name }, 'sse log failed')
    }
  }
}

// One object, so that two calls without options have the same options.
const NO_OPTIONS = {}

/**
 * Returns a quarter of the age or less, from 10 milliseconds to 5 seconds; powers of two, so that there are few timers.
 */
const periodOf = (age: number): number => 10 * 2 ** Math.floor(Math.log2(Math.max(1, Math.min(512, age / 40))))
