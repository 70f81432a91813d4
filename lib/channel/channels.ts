import type { Channel, ChannelResolver, Presence } from './channel.ts'
import { ChannelFamily } from './channel-family.ts'
import { FST_SSE_CHANNEL_OPTIONS, FST_SSE_CLOSING } from '../errors.ts'
import type { Contract } from '../contract/contract.ts'
import type { EventMap } from '../contract/event-types.ts'
import type { EventLog, EventLogFactory } from '../log/log.ts'
import { logSafely } from '../log-safely.ts'
import { sharedScope } from '../scope.ts'
import {
  validateName, difference, resolveChannel, type ChannelLogger, type ChannelOptions, type ChannelSettings
} from './settings.ts'
import type { ChannelStats, Statistics } from '../metrics/statistics.ts'
import { ActiveChannel } from './active-channel.ts'
import { ActivePresence } from './active-presence.ts'
import { EventLogs } from './event-logs.ts'
import { ChannelHandle, type ChannelHost, type ResolvedSettings } from './channel-handle.ts'
import { isPresence, presenceSettings } from './presence-events.ts'

export interface ChannelsSetup {
  /** Opens the log of a channel that has no own one in its options. */
  eventLog: EventLogFactory
  log: ChannelLogger
  statistics: Statistics
  /** Compiles the contract of a channel's events. */
  compile: (events: EventMap | undefined, place: string) => Contract
  /** Called with the promise of each call that a channel does not answer at once. */
  onCall?: (answer: Promise<unknown>) => void
}

/** The name of a channel, and the options of its log. */
export type LogSettings = Pick<ChannelSettings, 'name' | 'history' | 'eventLog'>

/** The channels with one sweep period, and its timer. */
interface Sweep { names: Set<string>, timer: NodeJS.Timeout }

/** A channel in memory. */
interface OpenChannel { readonly handle: ChannelHandle, readonly active: ActiveChannel }

/** The channels of one registration. An idle channel whose history has expired leaves memory. */
export class Channels implements ChannelHost {
  readonly #setup: ChannelsSetup
  readonly #channels = new Map<string, OpenChannel>()
  readonly #sweeps = new Map<number, Sweep>()
  readonly #logs: EventLogs
  #closed = false

  constructor (setup: ChannelsSetup) {
    this.#setup = setup
    this.#logs = new EventLogs(setup.eventLog, setup.log)
  }

  /**
   * Returns the channel of that name, created if there is none. Throws FST_SSE_OPTION for a bad name or option,
   * FST_SSE_MAP and FST_SSE_SCHEMA for an unusable event map, FST_SSE_CHANNEL_OPTIONS if the channel has other options.
   * After the server has ended its streams, the channel rejects every call with FST_SSE_CLOSING. `reply.sse` rejects a
   * stream of it like any other, so that its client reconnects.
   */
  channel<const M extends EventMap = EventMap> (name: string, options: ChannelOptions<M> = NO_OPTIONS): Channel<M> {
    const existing = this.#channels.get(name)?.handle
    if (existing?.options === options) return existing.channel as unknown as Channel<M>
    const settings = this.#resolve(name, options)
    const { channel } = this.#closed ? new ChannelHandle(this, settings, options) : this.#get(settings, options).handle
    return channel as unknown as Channel<M>
  }

  /** Returns a family of channels with the same options. Throws as `channel` does. */
  family<const M extends EventMap = EventMap> (
    name: string,
    options: ChannelOptions<M> = NO_OPTIONS
  ): ChannelFamily<M> {
    const family = new ChannelFamily(name, this, options)
    const { events, eventLog } = this.#resolve(name, options)
    this.#setup.compile(events, `channel family '${name}'`)
    this.#logs.add(eventLog)
    return family
  }

  /** Returns the active channel of that name, created if there is none. Throws FST_SSE_CLOSING after the close. */
  active (name: string, options: unknown): ActiveChannel {
    if (this.#closed) throw new FST_SSE_CLOSING()
    return this.#get(this.#resolve(name, options), options).active
  }

  /** Returns the active channels with that prefix. */
  withPrefix (prefix: string): ActiveChannel[] {
    return [...this.#channels].filter(([name]) => name.startsWith(prefix)).map(([, { active }]) => active)
  }

  /** Opens the log of a channel, for a caller that closes it. */
  open ({ name, history, eventLog = this.#setup.eventLog }: LogSettings): EventLog {
    return sharedScope.runInAsyncScope(eventLog, undefined, name, history)
  }

  /** Runs a step on the log of a channel. Without an active channel, the log is closed after the step. */
  async withLog<T> (settings: LogSettings, step: (log: EventLog) => T | Promise<T>): Promise<T> {
    if (this.#closed) throw new FST_SSE_CLOSING()
    const active = this.#channels.get(settings.name)?.active
    if (active !== undefined) return await step(active.log)
    const log = this.open(settings)
    try {
      return await step(log)
    } finally {
      log.close()
    }
  }

  /** Returns the names of the channels with these epochs, on any node. Rejects as `app.sse.locate()` does. */
  async locate (epochs: readonly string[]): Promise<Array<string | undefined>> {
    // A log may open its file again to answer, and nothing would close it.
    if (this.#closed) throw new FST_SSE_CLOSING()
    return await this.#logs.locate(epochs)
  }

  /**
   * Returns the channel of that name in memory, with any options; undefined if there is none. Throws FST_SSE_OPTION for
   * a bad name.
   */
  find (name: string): Channel | undefined {
    return this.#channels.get(validateName(name))?.handle.channel
  }

  /** The number of channels in memory. */
  get size (): number { return this.#channels.size }

  /** Returns the figures of each channel in memory. */
  stats (): ChannelStats[] {
    return Array.from(this.#channels.values(), ({ active }) => active.stats())
  }

  activeWith (settings: ResolvedSettings): ActiveChannel | undefined {
    const active = this.#channels.get(settings.name)?.active
    return active === undefined || difference(active.settings, settings) !== undefined ? undefined : active
  }

  /** Throws as `channel`. */
  activate (handle: ChannelHandle): ActiveChannel | undefined {
    return this.#closed ? undefined : this.#get(handle.settings, handle.options, handle).active
  }

  members (settings: ResolvedSettings): ActivePresence | undefined {
    const active = this.#closed ? undefined : this.#get(settings, NO_OPTIONS).active
    return active instanceof ActivePresence ? active : undefined
  }

  presenceOf (settings: ResolvedSettings): ReturnType<ChannelResolver['presence']> {
    const own = presenceSettings(settings)
    const members = this.members(own)
    const { channel } = this.#channels.get(own.name)?.handle ?? new ChannelHandle(this, own, NO_OPTIONS)
    return { channel: channel as unknown as Presence, members }
  }

  watch (name: string, call: string, answer: Promise<unknown>): void {
    this.#setup.onCall?.(answer)
    answer.catch(err => logSafely(this.#setup.log, 'warn', { err, channel: name }, `sse ${call} rejected`))
  }

  /** Ends the members of this process, and waits for the logs, one second at most. */
  async release (): Promise<void> {
    await Promise.all([...this.#channels.values()].map(async ({ active }) => {
      if (active instanceof ActivePresence) await active.release()
    }))
  }

  /** Rejects calls from now on. Those under way continue. */
  seal (): void {
    this.#closed = true
    for (const { active } of this.#channels.values()) active.open = false
  }

  close (): void {
    this.#closed = true
    for (const { timer } of this.#sweeps.values()) clearInterval(timer)
    for (const { active } of this.#channels.values()) this.#guard(active, () => active.close())
    this.#channels.clear()
  }

  /** Releases all event logs, after `close`. Waits five seconds at most. */
  closeLogs (): Promise<void> {
    return this.#logs.close()
  }

  #get (settings: ResolvedSettings, options: unknown, handle?: ChannelHandle): OpenChannel {
    const { name, events, history } = settings
    const existing = this.#channels.get(name)
    if (existing !== undefined) {
      const option = difference(existing.active.settings, settings)
      if (option !== undefined) throw new FST_SSE_CHANNEL_OPTIONS(name, option)
      return existing
    }
    const { log, statistics, compile } = this.#setup
    const contract = compile(events, `channel '${name}'`)
    const Active = isPresence(name) ? ActivePresence : ActiveChannel
    const active = sharedScope.runInAsyncScope(() =>
      new Active({ settings, eventLog: settings.eventLog, log, statistics, contract })
    )
    const openChannel = { handle: handle ?? new ChannelHandle(this, settings, options), active }
    this.#channels.set(name, openChannel)
    this.#logs.add(settings.eventLog)
    this.#addToSweep(name, history.maxAge)
    return openChannel
  }

  #resolve (name: string, options: unknown): ResolvedSettings {
    const settings = resolveChannel(name, options)
    const { eventLog = this.#setup.eventLog } = settings
    return Object.assign(settings, { eventLog })
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
