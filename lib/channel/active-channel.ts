import { diagnostics } from '../metrics/diagnostics.ts'
import { setTimeout, clearTimeout } from '../clock.ts'
import { FST_SSE_REAUTHORIZE_TIMEOUT } from '../errors.ts'
import { freeContract } from '../contract/contract.ts'
import type { AnyEvent } from '../contract/event-types.ts'
import { Feed } from './feed.ts'
import { FAILURE } from '../schema/fingerprint.ts'
import { StreamClosedError } from '../lifecycle.ts'
import type { EventLog, LogState, LogPosition, LogRecord } from '../log/log.ts'
import { logSafely } from '../log-safely.ts'
import { problemEvent } from '../contract/problem.ts'
import { Producer, saysEnded } from './producer.ts'
import { sharedScope } from '../scope.ts'
import type { ChannelSettings, ChannelSetup } from './settings.ts'
import { dispose, isThenable } from '../source/source.ts'
import type { ChannelStats } from '../metrics/statistics.ts'
import { toError, isAbortError } from '../thrown-value.ts'

/** What lives under the name of a channel: its log, those who read it, and the one who writes to it. */
export class ActiveChannel {
  /** False when it left memory: the next one of the name is another. */
  open = true
  readonly settings: ChannelSettings
  readonly feed: Feed
  readonly #setup: ChannelSetup
  readonly #log: EventLog
  /** The last that was published here. */
  #newest = 0
  #producer: Producer | undefined
  /** Stops listening to the end of the log: another node may end it while a producer runs. */
  #stopTail: (() => void) | undefined
  #source: unknown
  /** The source while the producer waits for the log. */
  #unread: { source: unknown } | undefined
  #produced: Promise<void> | undefined
  /** There while the producer, and what it ends with, is not over. */
  #settle: ((error?: { cause: unknown }) => void) | undefined

  constructor (setup: ChannelSetup) {
    this.#setup = setup
    this.settings = setup.settings
    this.#log = setup.eventLog(setup.settings.name, setup.settings.history)
    this.feed = new Feed(setup.settings, this.#log, setup.log, setup.statistics, setup.contract)
  }

  /** Throws what is wrong with the event. */
  append (event: unknown): LogPosition | Promise<LogPosition> {
    const record = this.#setup.contract.serialize(event)
    const position = this.#log.append(record)
    return isThenable(position) ? Promise.resolve(position).then(position => this.#appended(record, position)) : this.#appended(record, position)
  }

  stats (): ChannelStats {
    const { readers: subscribers, lagging, newest } = this.feed
    return { subscribers, lagging, newest: Math.max(newest, this.#newest) }
  }

  #appended ({ event }: LogRecord, position: LogPosition): LogPosition {
    const { settings: { name }, statistics } = this.#setup
    const { epoch, offset } = position
    this.#newest = offset
    statistics.published++
    if (diagnostics.publish.hasSubscribers) diagnostics.publish.publish({ channel: name, event, id: `${epoch}-${offset}` })
    return position
  }

  state (): LogState | Promise<LogState> {
    return this.feed.state()
  }

  publishFrom (source: unknown): Promise<void> {
    if (this.#produced !== undefined) {
      if (source !== this.#source) dispose(source)
      return this.#produced
    }
    this.#source = source
    this.#unread = { source }
    this.#produced = new Promise((resolve, reject) => {
      this.#settle = error => {
        this.#settle = undefined
        error === undefined ? resolve() : reject(error.cause)
      }
    })
    // Who does not wait for it is not ended by it: the log has it.
    this.#produced.catch(() => {})
    const producer = this.#producer = new Producer({
      append: event => this.append(event),
      end: error => { this.#finish(error) },
      failLate: err => {
        if (!isAbortError(err)) this.#fault(err, 'sse source failed after its channel was over')
      },
      over: () => this.#over()
    })
    this.#begin(producer, source)
    return this.#produced
  }

  /** Starts the producer, unless the channel is over. */
  #begin (producer: Producer, source: unknown): void {
    const start = ({ ended }: LogState): void => {
      if (ended) this.#over()
      if (this.#producer !== producer) return
      this.#unread = undefined
      producer.start(source)
    }
    const fail = (cause: unknown): void => {
      if (this.#producer === producer) this.#finish({ cause })
    }
    try {
      // Listen first, then look: no end is missed. A log with a new epoch goes on, and so does the producer.
      // A log may open its connection here, which outlives the request that called consume().
      this.#stopTail = sharedScope.runInAsyncScope(this.#log.tail, this.#log, ({ ended }: LogState) => { if (ended) this.#over() })
      const head = this.#log.state()
      if (isThenable(head)) Promise.resolve(head).then(start).catch(fail)
      else start(head)
    } catch (cause) {
      fail(cause)
    }
  }

  async end (): Promise<void> {
    this.#stop(new StreamClosedError('channel-ended'))
    try {
      await this.#log.end()
    } finally {
      this.#settle?.()
    }
  }

  /** Another topic has ended the log: the producer stops as at the end of this one. */
  #over (): void {
    if (this.#producer === undefined) return
    this.#stop(new StreamClosedError('channel-ended'))
    this.#settle?.()
  }

  /** The log is asked in any case: it lets go of what is too old. */
  isIdle (): boolean {
    return this.#log.isIdle() && this.#settle === undefined && this.feed.readers === 0
  }

  close (): void {
    this.open = false
    this.#stop(new StreamClosedError('shutdown'))
    this.#settle?.()
    this.feed.close()
    this.#log.close()
  }

  #stop (reason: Error): void {
    this.#letGo()?.stop(reason)
  }

  /** Detaches the producer from the log and returns it. A source that it has not begun to read is disposed of. */
  #letGo (): Producer | undefined {
    const producer = this.#producer
    const unread = this.#unread
    this.#producer = undefined
    this.#unread = undefined
    this.#stopTail?.()
    this.#stopTail = undefined
    if (unread !== undefined) dispose(unread.source)
    return producer
  }

  /** The producer is done, or failed: then its error is the last event, and those who come later get it too. */
  async #finish (failed?: { cause: unknown }): Promise<void> {
    this.#letGo()
    try {
      if (failed !== undefined) {
        const error = toError(failed.cause)
        this.#fault(error, 'sse producer failed')
        await this.#appendError(error)
      }
      await this.#log.end()
      this.#settle?.(failed)
    } catch (cause) {
      this.#settle?.({ cause })
    }
  }

  async #appendError (error: Error): Promise<void> {
    const { contract, settings: { errorEvent } } = this.#setup
    try {
      const last = errorEvent === undefined ? problemEvent(error) : await inTime(errorEvent?.(error)) ?? null
      if (last !== null) await this.#log.append(contract.declares(last as AnyEvent) ? contract.serialize(last) : { ...freeContract.serialize(last), fingerprint: FAILURE })
    } catch (err) {
      // The channel ended before its source failed: no event and no log line.
      if (!saysEnded(err)) this.#fault(err, 'sse error event could not be made')
    }
  }

  #fault (err: unknown, text: string): void {
    logSafely(this.#setup.log, 'error', { err, channel: this.settings.name }, text)
  }
}

// Milliseconds. The end of the channel waits for a promised last event.
const LAST = 1_000

async function inTime<T> (event: T | Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new FST_SSE_REAUTHORIZE_TIMEOUT('errorEvent', LAST)), LAST)
  })
  return Promise.race([event, late]).finally(() => clearTimeout(timer))
}
