import { FST_SSE_CHANNEL_ENDED, FST_SSE_LOG_FOREIGN, FST_SSE_LOG_UNAVAILABLE } from '../../errors.ts'
import { shared as anyRequest } from '../../scope.ts'
import { newEpoch } from '../epoch.ts'
import type { EventLog, History, LogBatch, LogHead, LogPosition, LogRecord } from '../log.ts'
import type { Bell, Ear } from './bell.ts'
import { isFull, isRefusal, type Commands } from './commands.ts'
import { Outbox } from './outbox.ts'
import { decodeMessage, type Piece } from './piece.ts'
import * as scripts from './scripts.ts'
import { Sequence } from './sequence.ts'

/** What the logs of one `redisLog` share. */
export interface Shared {
  readonly commands: Commands
  readonly bell: Bell
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
  readonly closed: () => void
}

// A hash outlives its events by that many milliseconds: who comes back later, having missed nothing, is not reset.
const LINGER = 3_600_000
// Entries per look at the store.
const BATCH = 500
// What was published last may be lost on its way, with nothing after it that shows it.
const CHECK_INTERVAL = 15_000
// Milliseconds for which the right to publish counts as checked.
const PUBLISHABLE = 60_000
// Messages that arrive before the first answer of the store wait, up to this number: the store has them all.
const MAX_EARLY = 1_000

// One that nobody used for so long can be opened again when somebody does.
const IDLE_AFTER = 300_000

// The names of keys in a cluster: what is in braces says where they are.
const BRACES = /[{}%]/g
// Any other text would break the format, and is no fingerprint.
const FINGERPRINT = /^[\w-]{1,64}$/

export class RedisLog implements EventLog, Ear {
  readonly #shared: Shared
  readonly #name: string
  readonly #keys: readonly [hash: string, stream: string]
  readonly #channel: string
  /** Says by whom an append was, when its answer has to be asked for again. */
  readonly #receipt: string
  readonly #bounds: ReadonlyArray<string | number>
  readonly #outbox: Outbox
  readonly #listeners = new Set<(batch: LogBatch) => void>()
  #sequence: Sequence | undefined
  /** Settles when all that is appended from now on is heard. */
  #listening: Promise<void> | undefined
  /** The newest known offset, from an answer or a sealed message: a log that ends before it has lost its history. */
  #known = { epoch: '', offset: 0, stamp: '', secret: '' }
  /** Messages that arrived before the secret of their seal was known. */
  #early: Buffer[] = []
  #publishableAt = -Infinity
  #checking = false
  #checkAgain = false
  #checkedAt = 0
  #usedAt = performance.now()
  readonly #idleAfter: number
  #closed = false

  constructor (name: string, { events, bytes, age }: History, shared: Shared) {
    const key = `${shared.prefix}{${name.replace(BRACES, encodeURIComponent)}}`
    this.#shared = shared
    this.#name = name
    this.#keys = [key, `${key}:events`]
    // All databases of a server have one space of names for what is published.
    this.#channel = `${shared.keyPrefix}${key}@${shared.db}`
    this.#receipt = `${key}:${newEpoch()}`
    this.#idleAfter = Math.min(age, IDLE_AFTER)
    // Redis keeps whole milliseconds.
    this.#bounds = age === Infinity ? [events, bytes, -1, ''] : [events, bytes, Math.ceil(age), Math.ceil(age) + LINGER]
    this.#outbox = new Outbox({
      append: (records, number, wanted) => this.#append(records, number, wanted),
      end: wanted => this.#position(scripts.end, [shared.publish, this.#channel], wanted),
      late: () => new FST_SSE_LOG_UNAVAILABLE(name, `did not answer within ${shared.timeout} milliseconds: it may still come`),
      timeout: shared.timeout
    })
  }

  append (record: LogRecord): Promise<LogPosition> { return this.#outbox.add(record) }

  async read (after: number, limit: number): Promise<LogBatch> {
    const { epoch, newest, ended, entries } = await this.#ask(scripts.read, [after, limit])
    return { epoch, newest, ended, entries }
  }

  async head (): Promise<LogHead> {
    // First heard, then seen: nothing falls between.
    await this.#listening
    const { epoch, oldest, newest, ended } = await this.#ask(scripts.head, [])
    return { epoch, oldest, newest, ended }
  }

  tail (listener: (batch: LogBatch) => void): () => void {
    // One function may listen twice, and each of the two stops by itself.
    const told = (batch: LogBatch): void => listener(batch)
    this.#listeners.add(told)
    // A connection and its timers serve all listeners, and keep no caller's context.
    anyRequest.runInAsyncScope(this.#listen, this)
    return () => {
      if (this.#listeners.delete(told) && this.#listeners.size === 0) this.#leave()
    }
  }

  end (): Promise<void> { return this.#outbox.end() }

  /** Redis keeps everything for those who come back. What is opened again and again leaves a receipt each time. */
  idle (): boolean {
    return this.#listeners.size === 0 && this.#outbox.empty && performance.now() - this.#usedAt >= this.#idleAfter
  }

  close (): void {
    if (this.#closed) return
    this.#closed = true
    this.#listeners.clear()
    this.#leave()
    this.#shared.open.delete(this)
    if (this.#shared.open.size === 0) this.#shared.closed()
  }

  heard (message: Buffer): void {
    // The message only proves that its sender may publish.
    if (message.length === 0) return
    const { epoch, offset, secret } = this.#known
    if (epoch === '') {
      this.#early.push(message)
      if (this.#early.length > MAX_EARLY) this.#early.shift()
      return
    }
    const piece = decodeMessage(message, secret)
    // Of another epoch, another version or another program: ask the store.
    if (piece === undefined || piece.epoch !== epoch) return this.check()
    if (piece.newest > offset) this.#known = { epoch, offset: piece.newest, stamp: piece.stamp, secret }
    this.#sequence?.heard(piece)
  }

  missed (): void { this.check() }

  /** Whether the log is where it was told to be; and its keys stay as long as somebody follows. */
  check (): void {
    if (this.#sequence === undefined) return
    // The answer that is on its way may be from before we could hear.
    this.#checkAgain = this.#checking
    if (!this.#checking) this.#check()
  }

  /** Called every second or so. */
  tick (now: number): void {
    if (now - this.#checkedAt >= CHECK_INTERVAL) this.check()
  }

  async #check (): Promise<void> {
    this.#checking = true
    do {
      this.#checkAgain = false
      this.#checkedAt = performance.now()
      const sequence = this.#sequence
      try {
        const { epoch, newest, ended } = await this.#ask(scripts.check, [])
        sequence?.seen({ epoch, newest, ended })
      } catch {
        // Refused: whoever asks for something hears why.
      }
    } while (this.#checkAgain && this.#sequence !== undefined)
    this.#checking = false
  }

  #listen (): void {
    if (this.#sequence !== undefined) return
    const sequence = this.#sequence = new Sequence({
      read: after => this.read(after, BATCH),
      tell: batch => { for (const listener of this.#listeners) listener(batch) }
    })
    // It begins where the log is now, before anything that this node appends later.
    this.#ask(scripts.head, []).then(piece => sequence.begin(piece)).catch(() => {})
    this.#listening = this.#shared.bell.listen(this.#channel, this).catch(error => { throw this.#refused(error) })
    // What came before it could be heard is read.
    this.#listening.then(() => this.check(), () => {})
  }

  #leave (): void {
    if (this.#sequence === undefined) return
    this.#usedAt = performance.now()
    this.#sequence.close()
    this.#sequence = undefined
    this.#listening = undefined
    this.#shared.bell.leave(this.#channel, this)
  }

  async #append (records: readonly LogRecord[], number: number, wanted: () => boolean): Promise<LogPosition> {
    const now = performance.now()
    const tries = now - this.#publishableAt >= PUBLISHABLE
    const args: Array<string | number> = [this.#shared.publish, this.#channel, number, tries ? 1 : 0]
    for (const { event, data, json, fingerprint = '' } of records) {
      args.push(event, `${json ? 'json' : 'text'}${FINGERPRINT.test(fingerprint) ? ` ${fingerprint}` : ''}`, data)
    }
    const position = await this.#position(scripts.append, args, wanted, [this.#receipt])
    if (tries) this.#publishableAt = now
    return position
  }

  async #position (script: scripts.Script, args: ReadonlyArray<string | number>, wanted: () => boolean, keys?: readonly string[]): Promise<LogPosition> {
    const { epoch, newest } = await this.#ask(script, args, wanted, keys)
    return { epoch, offset: newest }
  }

  async #ask (script: scripts.Script, args: ReadonlyArray<string | number>, wanted = () => !this.#closed, keys: readonly string[] = []): Promise<Piece> {
    const { epoch, offset, stamp } = this.#known
    this.#usedAt = performance.now()
    try {
      const piece = await this.#shared.commands.run(script, [...this.#keys, ...keys], [newEpoch(), epoch, offset, stamp, ...this.#bounds, this.#shared.secret, ...args], wanted)
      this.#learn(piece)
      return piece
    } catch (error) {
      throw this.#refused(error)
    }
  }

  /** An error with a message of this package: a client may get it, and the message of Redis is for the log alone. */
  #refused (cause: unknown): Error {
    const error = this.#coded(cause)
    error.cause = cause
    return error
  }

  #coded (cause: unknown): Error {
    const [word] = isRefusal(cause) ? cause.message.split(' ', 1) : []
    switch (word) {
      case 'ENDED': return new FST_SSE_CHANNEL_ENDED()
      case 'FOREIGN': return new FST_SSE_LOG_FOREIGN(this.#name, 'hold other data, so use another prefix or another name')
      case 'NEWER': return new FST_SSE_LOG_FOREIGN(this.#name, 'are of a newer version of this package')
      case 'MUTED': return new FST_SSE_LOG_UNAVAILABLE(this.#name, 'needs the right to publish: nothing was appended')
      default: return new FST_SSE_LOG_UNAVAILABLE(this.#name, isFull(cause) ? 'has no memory left: nothing was appended' : 'cannot be used')
    }
  }

  #learn ({ epoch, newest, stamp, secret }: Piece): void {
    if (epoch === this.#known.epoch && newest < this.#known.offset) return
    this.#known = { epoch, offset: newest, stamp, secret }
    for (const message of this.#early.splice(0)) anyRequest.runInAsyncScope(this.heard, this, message)
  }
}
