import { FST_SSE_CHANNEL_ENDED, FST_SSE_LOG_FOREIGN, FST_SSE_LOG_UNAVAILABLE } from '../../errors.ts'
import { shared as sharedScope } from '../../scope.ts'
import { newEpoch } from '../epoch.ts'
import type { EventLog, HistoryLimits, LogBatch, LogState, LogPosition, LogRecord } from '../log.ts'
import type { RedisSubscriber, RedisListener } from './subscriber.ts'
import { isFull, isRefusal, type Commands } from './commands.ts'
import { AppendQueue } from './append-queue.ts'
import { decodeMessage, type ScriptReply } from './script-reply.ts'
import * as scripts from './scripts.ts'
import { OrderedTail } from './ordered-tail.ts'

/** What the logs of one `redisLog` share. */
export interface RedisContext {
  readonly commands: Commands
  readonly subscriber: RedisSubscriber
  readonly prefix: string
  /** Milliseconds an append may take. */
  readonly timeout: number
  readonly publish: 'PUBLISH' | 'SPUBLISH'
  /** The random secret for the seals of logs that begin here. */
  readonly secret: string
  /** What ioredis puts before each key, and not before the names that are published and subscribed. */
  readonly keyPrefix: string
  readonly db: number
  /** All that are open. */
  readonly open: Set<RedisLog>
  readonly onAllClosed: () => void
}

// A hash outlives its events by that many milliseconds: who comes back later, having missed nothing, is not reset.
const META_TTL = 3_600_000
// Entries per look at the store.
const BATCH = 500
// What was published last may be lost on its way, with nothing after it that shows it.
const CHECK_INTERVAL = 15_000
// Milliseconds for which the right to publish counts as checked.
const PUBLISH_CHECK_TTL = 60_000
// Messages that arrive before the first answer of the store wait, up to this number: the store has them all.
const MAX_EARLY_MESSAGES = 1_000

// One that nobody used for so long can be opened again when somebody does.
const IDLE_AFTER = 300_000

// The names of keys in a cluster: what is in braces says where they are.
const BRACES = /[{}%]/g
// Any other text would break the format, and is no fingerprint.
const FINGERPRINT = /^[\w-]{1,64}$/

export class RedisLog implements EventLog, RedisListener {
  readonly #redis: RedisContext
  readonly #name: string
  readonly #keys: readonly [hash: string, stream: string]
  readonly #channel: string
  /** Says by whom an append was, when its answer has to be asked for again. */
  readonly #idempotencyKey: string
  readonly #bounds: ReadonlyArray<string | number>
  readonly #appends: AppendQueue
  readonly #listeners = new Set<(batch: LogBatch) => void>()
  #ordered: OrderedTail | undefined
  /** Settles when all that is appended from now on is heard. */
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

  constructor (name: string, { maxEvents: events, maxBytes: bytes, maxAge: age }: HistoryLimits, context: RedisContext) {
    const key = `${context.prefix}{${name.replace(BRACES, encodeURIComponent)}}`
    this.#redis = context
    this.#name = name
    this.#keys = [key, `${key}:events`]
    // All databases of a server have one space of names for what is published.
    this.#channel = `${context.keyPrefix}${key}@${context.db}`
    this.#idempotencyKey = `${key}:${newEpoch()}`
    this.#idleAfter = Math.min(age, IDLE_AFTER)
    // Redis keeps whole milliseconds.
    this.#bounds = age === Infinity ? [events, bytes, -1, ''] : [events, bytes, Math.ceil(age), Math.ceil(age) + META_TTL]
    this.#appends = new AppendQueue({
      append: (records, number, isWanted) => this.#append(records, number, isWanted),
      end: isWanted => this.#position(scripts.end, [context.publish, this.#channel], isWanted),
      timeoutError: () => new FST_SSE_LOG_UNAVAILABLE(name, `did not answer within ${context.timeout} milliseconds: the event may still be appended`),
      timeout: context.timeout
    })
  }

  append (record: LogRecord): Promise<LogPosition> { return this.#appends.add(record) }

  async read (after: number, limit: number): Promise<LogBatch> {
    const { epoch, newest, ended, entries } = await this.#run(scripts.read, [after, limit])
    return { epoch, newest, ended, entries }
  }

  async state (): Promise<LogState> {
    // First heard, then seen: nothing falls between.
    await this.#subscribed
    const { epoch, oldest, newest, ended } = await this.#run(scripts.head, [])
    return { epoch, oldest, newest, ended }
  }

  tail (listener: (batch: LogBatch) => void): () => void {
    // One function may listen twice, and each of the two stops by itself.
    const own = (batch: LogBatch): void => listener(batch)
    this.#listeners.add(own)
    // A connection and its timers serve all listeners, and keep no caller's context.
    sharedScope.runInAsyncScope(this.#listen, this)
    return () => {
      if (this.#listeners.delete(own) && this.#listeners.size === 0) this.#stopListening()
    }
  }

  end (): Promise<void> { return this.#appends.end() }

  /** Redis keeps everything for those who come back. What is opened again and again leaves a receipt each time. */
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
    // The message only proves that its sender may publish.
    if (message.length === 0) return
    const { epoch, offset, secret } = this.#known
    if (epoch === '') {
      this.#early.push(message)
      if (this.#early.length > MAX_EARLY_MESSAGES) this.#early.shift()
      return
    }
    const reply = decodeMessage(message, secret)
    // Of another epoch, another version or another program: ask the store.
    if (reply === undefined || reply.epoch !== epoch) return this.check()
    if (reply.newest > offset) this.#known = { epoch, offset: reply.newest, appendedAt: reply.appendedAt, secret }
    this.#ordered?.onMessage(reply)
  }

  onLoss (): void { this.check() }

  /** Whether the log is where it was own to be; and its keys stay as long as somebody follows. */
  check (): void {
    if (this.#ordered === undefined) return
    // The answer that is on its way may be from before we could hear.
    this.#checkAgain = this.#checking
    if (!this.#checking) this.#checkNow()
  }

  /** Called every second or so. */
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
        // Refused: whoever asks for something hears why.
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
    // It begins where the log is now, before anything that this node appends later.
    this.#run(scripts.head, []).then(reply => tail.start(reply)).catch(() => {})
    this.#subscribed = this.#redis.subscriber.subscribe(this.#channel, this).catch(error => { throw this.#toError(error) })
    // What came before it could be heard is read.
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
    for (const { event, data, json, fingerprint = '' } of records) {
      args.push(event, `${json ? 'json' : 'text'}${FINGERPRINT.test(fingerprint) ? ` ${fingerprint}` : ''}`, data)
    }
    const position = await this.#position(scripts.append, args, isWanted, [this.#idempotencyKey])
    if (probes) this.#publishCheckedAt = now
    return position
  }

  async #position (script: scripts.Script, args: ReadonlyArray<string | number>, isWanted: () => boolean, keys?: readonly string[]): Promise<LogPosition> {
    const { epoch, newest } = await this.#run(script, args, isWanted, keys)
    return { epoch, offset: newest }
  }

  async #run (script: scripts.Script, args: ReadonlyArray<string | number>, isWanted = () => !this.#closed, keys: readonly string[] = []): Promise<ScriptReply> {
    const { epoch, offset, appendedAt } = this.#known
    this.#usedAt = performance.now()
    try {
      const reply = await this.#redis.commands.run(script, [...this.#keys, ...keys], [newEpoch(), epoch, offset, appendedAt, ...this.#bounds, this.#redis.secret, ...args], isWanted)
      this.#remember(reply)
      return reply
    } catch (error) {
      throw this.#toError(error)
    }
  }

  /** An error with a message of this package: a client may get it, and the message of Redis is for the log alone. */
  #toError (cause: unknown): Error {
    const error = this.#errorFor(cause)
    error.cause = cause
    return error
  }

  #errorFor (cause: unknown): Error {
    const [word] = isRefusal(cause) ? cause.message.split(' ', 1) : []
    switch (word) {
      case 'ENDED': return new FST_SSE_CHANNEL_ENDED()
      case 'FOREIGN': return new FST_SSE_LOG_FOREIGN(this.#name, 'hold other data, so use another prefix or another name')
      case 'NEWER': return new FST_SSE_LOG_FOREIGN(this.#name, 'are of a newer version of this package')
      case 'MUTED': return new FST_SSE_LOG_UNAVAILABLE(this.#name, 'needs the right to publish: nothing was appended')
      default: return new FST_SSE_LOG_UNAVAILABLE(this.#name, isFull(cause) ? 'has no memory left: nothing was appended' : 'cannot be used')
    }
  }

  #remember ({ epoch, newest, appendedAt, secret }: ScriptReply): void {
    if (epoch === this.#known.epoch && newest < this.#known.offset) return
    this.#known = { epoch, offset: newest, appendedAt, secret }
    for (const message of this.#early.splice(0)) sharedScope.runInAsyncScope(this.onMessage, this, message)
  }
}
