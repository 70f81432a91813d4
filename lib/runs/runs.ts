import type { FastifyBaseLogger } from 'fastify'
import type { ActiveChannel } from '../channel/active-channel.ts'
import type { ChannelFamily } from '../channel/channel-family.ts'
import { Channel, type PublishSource } from '../channel/channel.ts'
import type { Channels } from '../channel/channels.ts'
import { resolveChannel, type ChannelOptions, type ChannelSettings } from '../channel/settings.ts'
import { clearInterval, setInterval } from '../clock.ts'
import type { EventMap, EventOf, PublishEventOf } from '../contract/event-types.ts'
import { FST_SSE_CLOSING, FST_SSE_RUN_BROKEN, FST_SSE_SOURCE, describe } from '../errors.ts'
import { newEpoch } from '../log/epoch.ts'
import type { HistoryLimits, LogStatus, RunLog } from '../log/log.ts'
import { asRunLog } from '../log/required-methods.ts'
import { logSafely } from '../log-safely.ts'
import { sharedScope } from '../scope.ts'
import { dispose, isSource, noChannel, type ChannelSource } from '../source/source.ts'
import { Lease } from './lease.ts'
import { Run, stateOf } from './run.ts'

/** Options of `app.sse.runs(name, options)`: those of a channel, created once. Times are milliseconds. */
export interface RunsOptions<M extends EventMap = EventMap> extends ChannelOptions<M> {
  /**
   * The limits of the history, as for a channel. It should hold a complete run: a later client gets `sse.gap` for the
   * events that it does not hold. Default: 10,000 events, 4 MiB, 10 minutes.
   */
  history?: ChannelOptions['history']
  /** The start of a client without a position. Default 'earliest'. */
  start?: ChannelOptions['start']
  /**
   * The time after which a run is broken if its node has not renewed the lease, at least 100. The node renews the lease
   * three times within it, and every node checks the runs of its subscribers as often. Members of a dead node leave
   * after the same time. Default 15000.
   */
  leaseDuration?: number | undefined
}

export interface RunsSetup {
  channels: Channels
  log: FastifyBaseLogger
  /** Whether the server closes. */
  isClosing: () => boolean
}

/** The result of `runs.start()`. */
export interface StartedRun<M extends EventMap = EventMap> {
  run: Run<M>
  /** Whether this call started the run. */
  started: boolean
}

/** A history for a long answer of a model, for ten minutes. */
const HISTORY: HistoryLimits = { maxEvents: 10_000, maxBytes: 4_194_304, maxAge: 600_000 }

/**
 * Runs: each is a channel with one producer over all nodes, which outlives the clients. A lease in the event log shows
 * all nodes that the node of the producer is alive.
 */
export class Runs<M extends EventMap = EventMap> {
  readonly name: string
  readonly #setup: RunsSetup
  readonly #options: ChannelOptions<M>
  readonly #settings: Omit<ChannelSettings, 'name'>
  readonly #family: ChannelFamily<M>
  readonly #duration: number
  readonly #timer: NodeJS.Timeout | undefined
  /** The leases of the runs with a producer on this node. */
  readonly #leases = new Map<ActiveChannel, Lease>()
  /** The channels with a look under way. */
  readonly #looking = new Set<ActiveChannel>()
  /** The channels without an owner at the last look: their log has lost its history. */
  readonly #ownerless = new WeakSet<ActiveChannel>()

  constructor (name: string, options: RunsOptions<M>, setup: RunsSetup) {
    const { name: _name, ...settings } = resolveChannel(name, options, { start: 'earliest', history: HISTORY })
    this.name = name
    this.#setup = setup
    this.#options = settings as ChannelOptions<M>
    this.#settings = settings
    this.#family = setup.channels.family(name, this.#options)
    this.#duration = settings.leaseDuration
    const log = setup.channels.open({ ...settings, name: `${name}:` })
    try {
      asRunLog(log)
    } finally {
      log.close()
    }
    // After the close, no step would clear it.
    if (setup.isClosing()) return
    this.#timer = sharedScope.runInAsyncScope(setInterval, undefined, this.#tick, this.#duration / 3).unref()
  }

  /**
   * Starts the run with that id, once over all nodes: an existing run, also one that is over, is not started again, and
   * its `run` is returned. The source is published to the channel of the run, as by `publishFrom`, and continues when
   * clients disconnect. A source that is not started is disposed of. Rejects with FST_SSE_OPTION for an id that makes
   * no channel name, FST_SSE_SOURCE, FST_SSE_CLOSING while the server closes, and the errors of the event log.
   */
  async start (id: string, source: PublishSource<PublishEventOf<M>>): Promise<StartedRun<M>> {
    try {
      const name = this.#nameOf(id)
      if (source instanceof Channel || !isSource(source)) throw new FST_SSE_SOURCE(describe(source))
      const active = this.#setup.channels.active(name, this.#options)
      // Its lease may be lost with the history of the log, until it is renewed.
      if (active.producing) {
        dispose(source)
        return { run: new Run(id, 'running', this.#family.of(id)), started: false }
      }
      const lease = this.#leaseOf(active)
      const acquired = await lease.acquire()
      const status = await this.#logOf(active).peek()
      // Only the first owner starts its source: a run that began and ended meanwhile had another one.
      if (acquired && status?.owner === lease.owner) {
        await this.#produce(active, lease, source)
        return { run: this.#runOf(id, status), started: true }
      }
      dispose(source)
      return { run: this.#runOf(id, await this.#settled(active, status, acquired ? lease : undefined)), started: false }
    } catch (error) {
      dispose(source)
      throw error
    }
  }

  /**
   * Returns the run with that id; undefined if there is none. Creates nothing. A run whose node is dead is `broken`
   * then. Rejects as `start` does.
   */
  async get (id: string): Promise<Run<M> | undefined> {
    const status = await this.#statusOf(this.#nameOf(id))
    return status === undefined ? undefined : this.#runOf(id, status)
  }

  /**
   * Returns a source for `reply.sse`: the run with that id, or a source that is answered with 204 if there is none.
   * Await it before the stream: `reply.sse(await runs.follow(id))`.
   */
  async follow (id: string): Promise<ChannelSource<EventOf<M>>> {
    return await this.get(id) ?? noChannel
  }

  /**
   * Ends the run with that id, on any node: the signal of its source aborts. `last` is its last event. Resolves to
   * whether the run is stopped by it: false if there is none, or if it is over. Rejects an invalid event as `publish`
   * does: then the run continues.
   */
  async stop (id: string, last?: PublishEventOf<M>): Promise<boolean> {
    const name = this.#nameOf(id)
    const status = await this.#statusOf(name)
    if (status === undefined || status.ended) return false
    const active = this.#setup.channels.active(name, this.#options)
    await active.end(last)
    return (await this.#logOf(active).peek())?.outcome === 'stopped'
  }

  /** Ends the runs of this node as broken: their producers stop with it. */
  async close (): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all([...this.#leases.keys()].map(active => this.#break(active)))
  }

  #nameOf (id: string): string {
    const name = this.#family.nameOf(id)
    if (this.#setup.isClosing()) throw new FST_SSE_CLOSING()
    return name
  }

  #logOf (active: ActiveChannel): RunLog { return active.log as RunLog }

  #leaseOf (active: ActiveChannel): Lease { return new Lease(this.#logOf(active), newEpoch(), this.#duration) }

  #runOf (id: string, status: LogStatus | undefined): Run<M> {
    return new Run(id, stateOf(status), this.#family.of(id))
  }

  /** Returns the status of the log of a run; undefined if there is no run. */
  async #statusOf (name: string): Promise<LogStatus | undefined> {
    const { channels } = this.#setup
    const status = await channels.withLog({ ...this.#settings, name }, log => (log as RunLog).peek())
    if (status?.owner === undefined) return undefined
    return isAbandoned(status) ? await this.#settled(channels.active(name, this.#options), status) : status
  }

  async #produce (active: ActiveChannel, lease: Lease, source: unknown): Promise<void> {
    // The server may have begun to close while the log answered.
    if (this.#setup.isClosing()) {
      await this.#break(active)
      throw new FST_SSE_CLOSING()
    }
    this.#leases.set(active, lease)
    const forget = (): void => { this.#leases.delete(active) }
    active.publishFrom(source, true).then(forget, forget)
  }

  /** Breaks the run if its node is dead. Returns the status after that. `lease`: of this call, if it acquired one. */
  async #settled (active: ActiveChannel, status: LogStatus | undefined, lease?: Lease): Promise<LogStatus | undefined> {
    if (status?.ended === true || (lease === undefined && status?.leased === true)) return status
    // After a pause of this process, its own lease may have to be renewed first.
    if (this.#leases.has(active)) return status
    // The owner may have renewed its lease meanwhile: then the run lives.
    if (lease !== undefined || await this.#leaseOf(active).acquire()) await this.#break(active)
    return await this.#logOf(active).peek()
  }

  /** Ends a run with the event of its error. It has no effect if the run is over. */
  async #break (active: ActiveChannel): Promise<void> {
    this.#leases.delete(active)
    try {
      await active.fail(new FST_SSE_RUN_BROKEN(active.settings.name), 'broken')
    } catch (err) {
      this.#log(active, err, 'sse run could not be ended')
    }
  }

  readonly #tick = (): void => {
    for (const [active, lease] of this.#leases) this.#renew(active, lease)
    for (const active of this.#setup.channels.withPrefix(`${this.name}:`)) this.#look(active)
  }

  async #renew (active: ActiveChannel, lease: Lease): Promise<void> {
    if (await lease.renew() || this.#leases.get(active) !== lease) return
    await this.#break(active)
  }

  /** Looks whether the node of a run with subscribers is dead. */
  async #look (active: ActiveChannel): Promise<void> {
    if (active.readers === 0 || active.feed.ended || this.#leases.has(active) || this.#looking.has(active)) return
    this.#looking.add(active)
    try {
      const status = await this.#logOf(active).peek()
      const ownerless = status?.owner === undefined
      // An owner that is alive has its lease again before the next look.
      if (ownerless ? this.#ownerless.has(active) : isAbandoned(status)) await this.#settled(active, status)
      if (ownerless) this.#ownerless.add(active)
      else this.#ownerless.delete(active)
    } catch (err) {
      this.#log(active, err, 'sse run could not be checked')
    } finally {
      this.#looking.delete(active)
    }
  }

  #log ({ settings: { name } }: ActiveChannel, err: unknown, text: string): void {
    logSafely(this.#setup.log, 'warn', { err, channel: name }, text)
  }
}

/** Whether no node produces events for a run that is not over. */
const isAbandoned = ({ ended, leased, owner }: LogStatus): boolean => owner !== undefined && !ended && !leased
