import { diagnostics } from '../metrics/diagnostics.ts'
import { setTimeout, clearTimeout } from '../clock.ts'
import { FST_SSE_REAUTHORIZE_TIMEOUT } from '../errors.ts'
import { freeContract } from '../contract/contract.ts'
import type { AnyEvent } from '../contract/event-types.ts'
import { Feed } from './feed.ts'
import { FAILURE } from '../schema/fingerprint.ts'
import { StreamClosedError } from '../lifecycle.ts'
import type { EventLog, KeyedPosition, LogState, LogPosition, LogRecord } from '../log/log.ts'
import { logSafely } from '../log-safely.ts'
import { problemEvent } from '../contract/problem.ts'
import { Producer, isEndedError } from './producer.ts'
import { sharedScope } from '../scope.ts'
import { appendWith, resolvePublish } from './publish-options.ts'
import type { ChannelSettings, ChannelSetup } from './settings.ts'
import { dispose, isThenable } from '../source/source.ts'
import type { ChannelStats } from '../metrics/statistics.ts'
import { toError, isAbortError } from '../thrown-value.ts'

/** A channel in memory: its log, its readers and its producer. */
export class ActiveChannel {
  /** Whether the channel is in memory. After it left memory, the next channel of the name is another object. */
  open = true
  readonly settings: ChannelSettings
  #feed: Feed | undefined
  readonly #setup: ChannelSetup
  readonly #log: EventLog
  /** The offset of the last event that this process published. */
  #newest = 0
  #producer: Producer | undefined
  /** Stops tailing the log: another node may end the channel while the producer runs. */
  #stopTail: (() => void) | undefined
  #source: unknown
  /** The source, until the producer starts: it waits for the log. */
  #pendingSource: { source: unknown } | undefined
  #producerDone: Promise<void> | undefined
  /** Settles the promise of the producer. Defined until the producer, and its last event, are done. */
  #settleProducer: ((error?: { cause: unknown }) => void) | undefined

  constructor (setup: ChannelSetup) {
    this.#setup = setup
    this.settings = setup.settings
    this.#log = setup.eventLog(setup.settings.name, setup.settings.history)
  }

  /** The live side, made for the first subscriber: many channels have none. */
  get feed (): Feed {
    const { settings, log, statistics, contract } = this.#setup
    return (this.#feed ??= new Feed(settings, this.#log, log, statistics, contract))
  }

  get log (): EventLog { return this.#log }
  /** The number of subscribers in this process. */
  get readers (): number { return this.#feed?.readers ?? 0 }

  /** Appends an event to the log, and returns its id. Throws if the event is invalid. */
  append (event: unknown): string | Promise<string> {
    const record = this.#setup.contract.serialize(event)
    const position = this.#log.append(record)
    return isThenable(position)
      ? Promise.resolve(position).then(position => this.#onAppended(record, position))
      : this.#onAppended(record, position)
  }

  /** Appends an event with the options of `publish`. Resolves to undefined if that is up to a transaction. */
  async appendWith (event: unknown, options: unknown): Promise<KeyedPosition | undefined> {
    const resolved = resolvePublish(options)
    const record = this.#setup.contract.serialize(event)
    const position = await appendWith(this.#log, record, resolved)
    if (position?.appended === true) this.#onAppended(record, position)
    return position
  }

  stats (): ChannelStats {
    const feed = this.#feed
    return {
      name: this.settings.name,
      subscribers: this.readers,
      lagging: feed?.lagging ?? 0,
      newest: Math.max(feed?.newest ?? 0, this.#newest)
    }
  }

  #onAppended ({ event }: LogRecord, { epoch, offset }: LogPosition): string {
    const { settings: { name }, statistics } = this.#setup
    const id = `${epoch}-${offset}`
    this.#newest = offset
    statistics.published++
    if (diagnostics.publish.hasSubscribers) diagnostics.publish.publish({ channel: name, event, id })
    return id
  }

  state (): LogState | Promise<LogState> {
    return this.feed.state()
  }

  /** Whether a producer runs, or appends its last events. */
  get producing (): boolean { return this.#settleProducer !== undefined }

  /** `again`: also after an earlier producer, whose log was lost. */
  publishFrom (source: unknown, again = false): Promise<void> {
    if (this.#producerDone !== undefined && (this.producing || !again)) {
      if (source !== this.#source) dispose(source)
      return this.#producerDone
    }
    this.#source = source
    this.#pendingSource = { source }
    this.#producerDone = new Promise((resolve, reject) => {
      this.#settleProducer = error => {
        this.#settleProducer = undefined
        error === undefined ? resolve() : reject(error.cause)
      }
    })
    // A caller may ignore the promise: its rejection must not end the process. The failure is logged.
    this.#producerDone.catch(() => {})
    const producer = this.#producer = new Producer({
      append: event => this.append(event),
      end: error => { this.#finish(error) },
      failLate: err => {
        if (!isAbortError(err)) this.#logError(err, 'sse source failed after its channel ended')
      },
      logEnded: () => this.#onEnded()
    })
    this.#startProducer(producer, source)
    return this.#producerDone
  }

  /** Starts the producer, unless the channel has ended. */
  #startProducer (producer: Producer, source: unknown): void {
    const start = ({ ended }: LogState): void => {
      if (ended) this.#onEnded()
      if (this.#producer !== producer) return
      this.#pendingSource = undefined
      producer.start(source)
    }
    const fail = (cause: unknown): void => {
      if (this.#producer === producer) this.#finish({ cause })
    }
    try {
      // Tails the log before reading its state, so no end is missed. On a new epoch the producer continues. A log may
      // open its connection here, which outlives the request that called publishFrom().
      this.#stopTail = sharedScope.runInAsyncScope(this.#log.tail, this.#log, ({ ended }: LogState) => {
        if (ended) this.#onEnded()
      })
      const state = this.#log.state()
      if (isThenable(state)) Promise.resolve(state).then(start).catch(fail)
      else start(state)
    } catch (cause) {
      fail(cause)
    }
  }

  /** Ends the channel, with a last event if there is one. Throws if the event is invalid: the channel stays open. */
  async end (event?: unknown): Promise<void> {
    const last = event === undefined ? undefined : this.#setup.contract.serialize(event)
    await this.#stopAndEnd(last, 'stopped')
  }

  /** Ends the channel with an error: its event is the last one, unless the channel has ended before. */
  async fail (error: Error, outcome: string): Promise<void> {
    this.#stop(new StreamClosedError('channel-ended'))
    await this.#stopAndEnd(await this.#errorRecord(error), outcome)
  }

  async #stopAndEnd (last: LogRecord | undefined, outcome: string): Promise<void> {
    this.#stop(new StreamClosedError('channel-ended'))
    try {
      await this.#endLog(last, outcome)
    } finally {
      this.#settleProducer?.()
    }
  }

  async #endLog (last: LogRecord | undefined, outcome: string): Promise<void> {
    if (last === undefined || this.#log.peek !== undefined) return await this.#log.end(last, outcome)
    // This log may ignore the arguments of `end`.
    try {
      await this.#log.append(last)
    } catch (error) {
      if (!isEndedError(error)) throw error
    }
    await this.#log.end()
  }

  /** Stops the producer of a log that another node ended, as if this node had ended the channel. */
  #onEnded (): void {
    if (this.#producer === undefined) return
    this.#stop(new StreamClosedError('channel-ended'))
    this.#settleProducer?.()
  }

  /** Whether the channel may leave memory. Always calls `isIdle()` of the log, which also evicts old entries. */
  isIdle (): boolean {
    return this.#log.isIdle() && this.#settleProducer === undefined && this.readers === 0
  }

  close (): void {
    this.open = false
    this.#stop(new StreamClosedError('shutdown'))
    this.#settleProducer?.()
    this.#feed?.close()
    this.#log.close()
  }

  #stop (reason: Error): void {
    this.#detachProducer()?.stop(reason)
  }

  /** Detaches the producer from the log and returns it. Disposes of a source that the producer has not started. */
  #detachProducer (): Producer | undefined {
    const producer = this.#producer
    const pending = this.#pendingSource
    this.#producer = undefined
    this.#pendingSource = undefined
    this.#stopTail?.()
    this.#stopTail = undefined
    if (pending !== undefined) dispose(pending.source)
    return producer
  }

  /**
   * Ends the channel after its producer. If the producer failed, its error is the last event, also for later
   * subscribers.
   */
  async #finish (failure?: { cause: unknown }): Promise<void> {
    this.#detachProducer()
    try {
      let last: LogRecord | undefined
      if (failure !== undefined) {
        const error = toError(failure.cause)
        this.#logError(error, 'sse producer failed')
        last = await this.#errorRecord(error)
      }
      await this.#endLog(last, failure === undefined ? 'complete' : 'failed')
      this.#settleProducer?.(failure)
    } catch (cause) {
      this.#settleProducer?.({ cause })
    }
  }

  /** Returns the record of the last event of a channel that fails; undefined for none. */
  async #errorRecord (error: Error): Promise<LogRecord | undefined> {
    const { contract, settings: { name, errorEvent } } = this.#setup
    try {
      const last = errorEvent === undefined
        ? problemEvent(error)
        : await withTimeout(errorEvent?.(error, { channel: name })) ?? null
      if (last === null) return undefined
      return contract.declares(last as AnyEvent)
        ? contract.serialize(last)
        : { ...freeContract.serialize(last), fingerprint: FAILURE }
    } catch (err) {
      this.#logError(err, 'sse error event could not be made')
      return undefined
    }
  }

  #logError (err: unknown, text: string): void {
    logSafely(this.#setup.log, 'error', { err, channel: this.settings.name }, text)
  }
}

// Milliseconds. The end of the channel waits for an `errorEvent` that returns a promise.
const ERROR_EVENT_TIMEOUT = 1_000

async function withTimeout<T> (event: T | Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new FST_SSE_REAUTHORIZE_TIMEOUT('errorEvent', ERROR_EVENT_TIMEOUT)),
      ERROR_EVENT_TIMEOUT)
  })
  return Promise.race([event, timeout]).finally(() => clearTimeout(timer))
}
