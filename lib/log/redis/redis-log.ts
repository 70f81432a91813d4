import { FST_SSE_LOG_UNAVAILABLE } from '../../errors.ts'
import { sharedScope } from '../../scope.ts'
import { newEpoch } from '../epoch.ts'
import type { HistoryLimits, LogBatch, LogPosition, LogRecord, LogState, LogStatus, RunLog } from '../log.ts'
import type { RedisContext } from './context.ts'
import type { RedisListener } from './subscriber.ts'
import { toLogError } from './log-error.ts'
import { AppendQueue } from './append-queue.ts'
import type { EpochRegistration } from './epoch-index.ts'
import { decodeMessage, recordArguments, type ScriptReply } from './script-reply.ts'
import { lease, peek } from './run-scripts.ts'
import * as scripts from './scripts.ts'
import { timely } from './timely.ts'
import { OrderedTail } from './ordered-tail.ts'

// Milliseconds. A hash outlives its events by this time: a client that reconnects later without missed events is not
// reset.
const META_TTL = 3_600_000
// Entries per read.
const BATCH = 500
// Milliseconds. The last message may be lost, and no later one shows it.
const CHECK_INTERVAL = 15_000
// Milliseconds for which the right to publish counts as checked.
const PUBLISH_CHECK_TTL = 60_000
// Messages that arrive before the first answer of the store wait, up to this number: the store has them all.
const MAX_EARLY_MESSAGES = 1_000

// Milliseconds. An unused log is closed after this time at the latest; the next use opens it again.
const IDLE_AFTER = 300_000

// Braces determine the slot of a key in a cluster.
const BRACES = /[{}%]/g
export class RedisLog implements RunLog, RedisListener {
  readonly #redis: RedisContext
  readonly #name: string
  readonly #keys: readonly [hash: string, stream: string]
  readonly #channel: string
  /** Identifies the appends of this log, so that a lost answer can be requested again. */
  readonly #idempotencyKey: string
  readonly #bounds: ReadonlyArray<string | number>
  readonly #registration: EpochRegistration
  readonly #appends: AppendQueue
  readonly #listeners = new Set<(batch: LogBatch) => void>()
  #ordered: OrderedTail | undefined
  /** Resolves when all later appends will be received as messages. */
  #subscribed: Promise<void> | undefined
  /** The newest known offset, from an answer or a sealed message: a log that ends before it has lost its history. */
  #known = { epoch: '', offset: 0, appendedAt: '', secret: '' }
  /** Messages that arrived before the secret of their seal was known. */
  #early: Buffer[] = []
  #publishCheckedAt = -Infinity
  #checking = false
  #checkAgain = false
  #checkedAt = 0
  #usedAt = performance.now()
  readonly #idleAfter: number
  #closed = false

  constructor (
    name: string,
    { maxEvents: events, maxBytes: bytes, maxAge: age }: HistoryLimits,
    context: RedisContext
  ) {
    const key = `${context.prefix}{${name.replace(BRACES, encodeURIComponent)}}`
    this.#redis = context
    this.#name = name
    this.#keys = [key, `${key}:events`]
    // All databases of a server share the names of Redis channels.
    this.#channel = `${context.keyPrefix}${key}@${context.db}`
    this.#idempotencyKey = `${key}:${newEpoch()}`
    this.#idleAfter = Math.min(age, IDLE_AFTER)
    // Redis stores whole milliseconds.
    this.#bounds = age === Infinity
      ? [events, bytes, -1, '']
      : [events, bytes, Math.ceil(age), Math.ceil(age) + META_TTL]
    this.#registration = context.epochs.of(name, Math.ceil(age) + META_TTL, () => !this.#closed)
    this.#appends = new AppendQueue({
      append: (records, number, isWanted) => this.#append(records, number, isWanted),
      end: (isWanted, { last, outcome = '' }) => {
        const record = last === undefined ? [] : recordArguments(last)
        return this.#position(scripts.end, [context.publish, this.#channel, outcome, ...record], isWanted)
      },
      timeoutError: () =>
        new FST_SSE_LOG_UNAVAILABLE(name,
          `did not answer within ${context.timeout} milliseconds: the event may still be appended`),
      timeout: context.timeout
    })
  }

  append (record: LogRecord): Promise<LogPosition> { return this.#appends.add(record) }

  async read (after: number, limit: number): Promise<LogBatch> {
    const { epoch, newest, ended, entries } = await this.#run(scripts.read, [after, limit])
    return { epoch, newest, ended, entries }
  }

  async state (): Promise<LogState> {
    // Subscribe before reading the state, so no entry is missed in between.
    await this.#subscribed
    const { epoch, oldest, newest, ended } = await this.#run(scripts.state, [])
    return { epoch, oldest, newest, ended }
  }

  tail (listener: (batch: LogBatch) => void): () => void {
    // One function may be added twice: each call returns its own removal.
    const own = (batch: LogBatch): void => listener(batch)
    this.#listeners.add(own)
    // A connection and its timers serve all listeners, and keep no caller's context.
    sharedScope.runInAsyncScope(this.#listen, this)
    return () => {
      if (this.#listeners.delete(own) && this.#listeners.size === 0) this.#stopListening()
    }
  }

  end (last?: LogRecord, outcome?: string): Promise<void> { return this.#appends.end(last, outcome) }

  async peek (): Promise<LogStatus | undefined> { return await this.#timely(peek, []) ?? undefined }

  lease (owner: string, duration: number): Promise<boolean> {
    return this.#timely(lease, [owner, Math.ceil(duration)])
  }

  /**
   * Returns true after a time without use. Redis stores the entries for clients that reconnect, but each new instance
   * adds an idempotency key, so an instance is kept for a while.
   */
  isIdle (): boolean {
    return this.#listeners.size === 0 && this.#appends.empty && performance.now() - this.#usedAt >= this.#idleAfter
  }

  close (): void {
    if (this.#closed) return
    this.#closed = true
    this.#listeners.clear()
    this.#stopListening()
    this.#redis.open.delete(this)
    if (this.#redis.open.size === 0) this.#redis.onAllClosed()
  }

  onMessage (message: Buffer): void {
    // An empty message only proves that its sender may publish.
    if (message.length === 0) return
    const { epoch, offset, secret } = this.#known
    if (epoch === '') {
      this.#early.push(message)
      if (this.#early.length > MAX_EARLY_MESSAGES) this.#early.shift()
      return
    }
    const reply = decodeMessage(message, secret)
    // Of another epoch, version or program: check the store.
    if (reply === undefined || reply.epoch !== epoch) return this.check()
    if (reply.newest > offset) this.#known = { epoch, offset: reply.newest, appendedAt: reply.appendedAt, secret }
    this.#ordered?.onMessage(reply)
  }

  onLoss (): void { this.check() }

  /** Reads the state from the store, to find lost messages. Also keeps the keys alive while there are listeners. */
  check (): void {
    if (this.#ordered === undefined) return
    // The answer under way may be older than the subscription.
    this.#checkAgain = this.#checking
    if (!this.#checking) this.#checkNow()
  }

  /** Called about once a second. */
  tick (now: number): void {
    if (now - this.#checkedAt >= CHECK_INTERVAL) this.check()
  }

  async #checkNow (): Promise<void> {
    this.#checking = true
    do {
      this.#checkAgain = false
      this.#checkedAt = performance.now()
      const tail = this.#ordered
      try {
        const { epoch, newest, ended } = await this.#run(scripts.check, [])
        tail?.onStateChange({ epoch, newest, ended })
      } catch {
        // Rejected: the next call of a user reports the reason.
      }
    } while (this.#checkAgain && this.#ordered !== undefined)
    this.#checking = false
  }

  #listen (): void {
    if (this.#ordered !== undefined) return
    const tail = this.#ordered = new OrderedTail({
      read: after => this.read(after, BATCH),
      deliver: batch => { for (const listener of this.#listeners) listener(batch) }
    })
    // Start at the current end of the log, before any later append of this node.
    this.#run(scripts.state, []).then(reply => tail.start(reply)).catch(() => {})
    this.#subscribed = this.#redis.subscriber.subscribe(this.#channel, this).catch(error => {
      throw toLogError(this.#name, error)
    })
    // Entries appended before the subscription are read from the store.
    this.#subscribed.then(() => this.check(), () => {})
  }

  #stopListening (): void {
    if (this.#ordered === undefined) return
    this.#usedAt = performance.now()
    this.#ordered.close()
    this.#ordered = undefined
    this.#subscribed = undefined
    this.#redis.subscriber.unsubscribe(this.#channel, this)
  }

  async #append (records: readonly LogRecord[], number: number, isWanted: () => boolean): Promise<LogPosition> {
    const now = performance.now()
    const probes = now - this.#publishCheckedAt >= PUBLISH_CHECK_TTL
    const args: Array<string | number> = [this.#redis.publish, this.#channel, number, probes ? 1 : 0]
    for (const record of records) args.push(...recordArguments(record))
    const position = await this.#position(scripts.append, args, isWanted, [this.#idempotencyKey])
    if (probes) this.#publishCheckedAt = now
    return position
  }

  async #position (
    script: scripts.Script,
    args: ReadonlyArray<string | number>,
    isWanted: () => boolean,
    keys?: readonly string[]
  ): Promise<LogPosition> {
    const { epoch, newest } = await this.#run(script, args, isWanted, keys)
    return { epoch, offset: newest }
  }

  async #run (
    script: scripts.Script,
    args: ReadonlyArray<string | number>,
    isWanted = () => !this.#closed,
    keys: readonly string[] = []
  ): Promise<ScriptReply> {
    const reply = await this.#call(script, args, isWanted, keys)
    this.#remember(reply)
    const registered = this.#registration.keep(reply.epoch)
    if (registered !== undefined) await registered
    return reply
  }

  #timely<T> (script: scripts.Script<T>, args: ReadonlyArray<string | number>): Promise<T> {
    const { timeout } = this.#redis
    return timely(isWanted => this.#call(script, args, () => isWanted() && !this.#closed), timeout, () =>
      new FST_SSE_LOG_UNAVAILABLE(this.#name, `did not answer within ${timeout} milliseconds`))
  }

  async #call<T> (
    script: scripts.Script<T>,
    args: ReadonlyArray<string | number>,
    isWanted: () => boolean,
    keys: readonly string[] = []
  ): Promise<T> {
    const { epoch, offset, appendedAt } = this.#known
    this.#usedAt = performance.now()
    try {
      return await this.#redis.commands.run(script, [...this.#keys, ...keys], [newEpoch(), epoch, offset, appendedAt,
        ...this.#bounds, this.#redis.secret, ...args], isWanted)
    } catch (error) {
      throw toLogError(this.#name, error)
    }
  }

  #remember ({ epoch, newest, appendedAt, secret }: ScriptReply): void {
    if (epoch === this.#known.epoch && newest < this.#known.offset) return
    this.#known = { epoch, offset: newest, appendedAt, secret }
    for (const message of this.#early.splice(0)) sharedScope.runInAsyncScope(this.onMessage, this, message)
  }
}
