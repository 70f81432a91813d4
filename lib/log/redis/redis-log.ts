import { FST_SSE_CLOSING, FST_SSE_LOG_UNAVAILABLE } from '../../errors.ts'
import { sharedScope } from '../../scope.ts'
import { newEpoch } from '../epoch.ts'
import type {
  HeldMembers, HistoryLimits, KeyedPosition, LogBatch, LogPosition, LogRecord, LogState, LogStatus,
  MemberLog, RunLog
} from '../log.ts'
import type { RedisContext } from './context.ts'
import type { RedisListener } from './subscriber.ts'
import { toLogError } from './log-error.ts'
import { AppendQueue, type QueuedRecord } from './append-queue.ts'
import { ChannelAppends, type AppendingLog } from './channel-appends.ts'
import type { EpochRegistration } from './epoch-index.ts'
import { isBeyond, positionAfter, reachedBy, type KnownPosition } from './known-position.ts'
import { PositionChecks } from './position-checks.ts'
import { decodeMessage, kindOf, type AppendReply, type ScriptReply } from './script-reply.ts'
import { hold, members } from './member-scripts.ts'
import { lease, peek } from './run-scripts.ts'
import * as scripts from './scripts.ts'
import { answerOf } from '../timely.ts'
import { OrderedTail } from '../ordered-tail.ts'
import { TailListeners } from '../tail-listeners.ts'

// Milliseconds. A hash outlives its events by this time: a client that reconnects later without missed events is not
// reset.
const META_TTL = 3_600_000
// Entries per read.
const BATCH = 500
// Messages that arrive before the first answer of the store wait, up to this number: the store has them all.
const MAX_EARLY_MESSAGES = 1_000
// Milliseconds. An unused log is closed after this time at the latest; the next use opens it again.
const IDLE_AFTER = 300_000
// Braces determine the slot of a key in a cluster.
const BRACES = /[{}%]/g

export class RedisLog implements RunLog, MemberLog, RedisListener, AppendingLog {
  readonly #redis: RedisContext
  readonly #name: string
  readonly #keys: readonly [hash: string, stream: string]
  readonly #channel: string
  readonly #channelAppends: ChannelAppends
  readonly #bounds: ReadonlyArray<string | number>
  readonly #registration: EpochRegistration
  readonly #appends: AppendQueue
  readonly #listeners = new TailListeners(() => this.#listen(), () => this.#stopListening())
  #ordered: OrderedTail | undefined
  /** Resolves when all later appends will be received as messages. */
  #subscribed: Promise<void> | undefined
  #known: KnownPosition = { epoch: '', offset: 0, appendedAt: '', secret: '' }
  /** Messages that arrived before the secret of their seal was known. */
  #early: Buffer[] = []
  readonly #checks = new PositionChecks(known => this.#checkNow(known))
  #usedAt = performance.now()
  readonly #idleAfter: number
  #closed = false

  constructor (name: string, limits: HistoryLimits, context: RedisContext) {
    const { maxEvents: events, maxBytes: bytes, maxAge: age } = limits
    const key = `${context.prefix}{${name.replace(BRACES, encodeURIComponent)}}`
    this.#redis = context
    this.#name = name
    this.#keys = [key, `${key}:events`]
    // All databases of a server share the names of Redis channels.
    this.#channel = `${context.keyPrefix}${key}@${context.db}`
    this.#idleAfter = Math.min(age, IDLE_AFTER)
    // Redis stores whole milliseconds.
    const lifetime = Math.ceil(age) + META_TTL
    this.#bounds = age === Infinity ? [events, bytes, -1, ''] : [events, bytes, Math.ceil(age), lifetime]
    this.#channelAppends = new ChannelAppends(name, this.#keys, this.#bounds, context, this)
    this.#registration = context.epochs.of(name, lifetime, () => !this.#closed)
    this.#appends = new AppendQueue({
      append: () => this.#channelAppends.request(),
      end: async ({ last, outcome = '' }) => {
        const record = last === undefined ? [] : [last.event, kindOf(last), last.data]
        const { epoch, newest } = await this.#run(scripts.end, [context.publish, this.#channel, outcome, ...record],
          () => this.#appends.isWanted, this.#memberKeys)
        return { epoch, offset: newest }
      },
      timeoutError: () =>
        new FST_SSE_LOG_UNAVAILABLE(name,
          `did not answer within ${context.timeout} milliseconds: the event may still be appended`)
    }, context.timeouts)
  }

  append (record: LogRecord): Promise<LogPosition> {
    return this.#closed ? Promise.reject(new FST_SSE_CLOSING()) : this.#appends.add(record)
  }

  appendOnce (record: LogRecord, key: string): Promise<KeyedPosition> {
    return this.#closed ? Promise.reject(new FST_SSE_CLOSING()) : this.#appends.addOnce(record, key)
  }

  get known (): KnownPosition { return this.#known }

  get isWanted (): boolean { return this.#appends.isWanted }

  take (): readonly QueuedRecord[] {
    this.#usedAt = performance.now()
    return this.#appends.take()
  }

  appended (reply: AppendReply, known: KnownPosition): void {
    const position = { epoch: reply.epoch, offset: reply.newest, offsets: reply.offsets }
    const registered = this.#accept(reply, known)
    if (registered === undefined) this.#appends.settle(position)
    else registered.then(() => this.#appends.settle(position))
  }

  reject (error: unknown): void { this.#appends.reject(error) }

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
    return this.#closed ? () => {} : this.#listeners.add(listener)
  }

  end (last?: LogRecord, outcome?: string): Promise<void> { return this.#appends.end(last, outcome) }

  async peek (): Promise<LogStatus | undefined> { return await this.#timely(peek, []) ?? undefined }

  lease (owner: string, duration: number): Promise<boolean> {
    return this.#timely(lease, [owner, Math.ceil(duration)])
  }

  hold (holder: string, { add, remove, fingerprint }: HeldMembers, duration: number): Promise<boolean> {
    return this.#timely(hold, [this.#redis.publish, this.#channel, holder, Math.ceil(duration), newEpoch(),
      kindOf({ json: true, fingerprint }), add.length, ...add, ...remove], this.#memberKeys)
  }

  members (): Promise<readonly string[]> {
    return this.#timely(members, [this.#redis.publish, this.#channel], this.#memberKeys)
  }

  /** Returns true after a time without use. Redis has the entries; in a cluster, each new instance adds a receipt. */
  isIdle (): boolean {
    return this.#listeners.size === 0 && this.#appends.empty && performance.now() - this.#usedAt >= this.#idleAfter
  }

  close (): void {
    if (this.#closed) return
    this.#closed = true
    this.#listeners.clear()
    this.#redis.open.delete(this)
    if (this.#redis.open.size === 0) this.#redis.onAllClosed()
  }

  onMessage (message: Buffer): void {
    // An empty message only proves that its sender may publish.
    if (message.length === 0) return
    const { epoch, secret } = this.#known
    if (epoch === '') {
      this.#early.push(message)
      if (this.#early.length > MAX_EARLY_MESSAGES) this.#early.shift()
      return
    }
    const batch = decodeMessage(message, secret)
    // Of another epoch, version or program, or after another entry than the known one: check the store.
    const known = batch && positionAfter(batch, this.#known)
    if (known === undefined) return this.check()
    if (isBeyond(batch!, this.#known)) this.check()
    this.#known = known
    this.#ordered?.onMessage(batch!)
  }

  onLoss (): void { this.check() }

  /** Reads the state from the store, to find lost messages. Also keeps the keys alive while there are listeners. */
  check (): void { if (this.#ordered !== undefined) this.#checks.add(this.#known) }

  /** Called about once a second. */
  tick (now: number): void { if (this.#checks.isDue(now)) this.check() }

  async #checkNow (known: KnownPosition): Promise<void> {
    const tail = this.#ordered
    if (tail === undefined) return
    const { epoch, newest, ended } = await this.#run(scripts.check, [], undefined, [], known)
    tail.onStateChange({ epoch, newest, ended })
  }

  #listen (): void {
    if (this.#ordered !== undefined) return
    const tail = this.#ordered = new OrderedTail({
      read: after => this.#run(scripts.read, [after, BATCH]).then(this.#toDeliver),
      deliver: batch => this.#listeners.deliver(batch)
    })
    // Start at the current end of the log, before any later append of this node.
    this.#run(scripts.state, []).then(reply => tail.start(reply)).catch(() => {})
    this.#subscribed = this.#redis.subscriber.subscribe(this.#channel, this).catch(error => {
      throw toLogError(this.#name, error)
    })
    // Entries appended before the subscription are read from the store.
    this.#subscribed.then(() => this.check(), () => {})
  }

  /** Messages may have moved the known position during the call, but not as far. */
  readonly #toDeliver = (reply: ScriptReply): ScriptReply => {
    const known = reachedBy(reply, this.#known)
    if (known !== this.#known) this.check()
    this.#known = known
    return reply
  }

  #stopListening (): void {
    if (this.#ordered === undefined) return
    this.#usedAt = performance.now()
    this.#ordered.close()
    this.#ordered = undefined
    this.#subscribed = undefined
    this.#redis.subscriber.unsubscribe(this.#channel, this)
  }

  async #run (
    script: scripts.Script,
    args: ReadonlyArray<string | number>,
    isWanted = () => !this.#closed,
    keys: readonly string[] = [],
    known = this.#known
  ): Promise<ScriptReply> {
    const reply = await this.#call(script, args, isWanted, keys, known)
    await this.#accept(reply, known)
    return reply
  }

  /** `known`: the position that the call had. */
  #accept (reply: Omit<AppendReply, 'offsets'>, known: KnownPosition): Promise<void> | undefined {
    const { epoch, newest: offset, appendedAt, secret } = reply
    if (known === this.#known) {
      const isNew = epoch !== known.epoch || offset !== known.offset || appendedAt !== known.appendedAt
      if (isNew) this.#known = { epoch, offset, appendedAt, secret }
      for (const message of this.#early.length > 0 ? this.#early.splice(0) : this.#early) {
        sharedScope.runInAsyncScope(this.onMessage, this, message)
      }
    }
    return this.#registration.keep(epoch)
  }

  get #memberKeys (): string[] { return [`${this.#keys[0]}:leases`, `${this.#keys[0]}:members`] }

  #timely<T> (script: scripts.Script<T>, args: ReadonlyArray<string | number>, keys?: readonly string[]): Promise<T> {
    return answerOf(this.#name, this.#redis.timeout, isWanted =>
      this.#call(script, args, () => isWanted() && !this.#closed, keys))
  }

  async #call<T> (
    script: scripts.Script<T>,
    args: ReadonlyArray<string | number>,
    isWanted: () => boolean,
    keys: readonly string[] = [],
    { epoch, offset, appendedAt } = this.#known
  ): Promise<T> {
    this.#usedAt = performance.now()
    try {
      return await this.#redis.commands.run(script, [...this.#keys, ...keys], [newEpoch(), epoch, offset, appendedAt,
        ...this.#bounds, this.#redis.secret, ...args], isWanted)
    } catch (error) {
      throw toLogError(this.#name, error)
    }
  }
}
