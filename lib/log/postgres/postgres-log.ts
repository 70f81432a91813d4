import {
  describe, FST_SSE_CHANNEL_ENDED, FST_SSE_CLOSING, FST_SSE_LOG_UNAVAILABLE, FST_SSE_OPTION
} from '../../errors.ts'
import type {
  HeldMembers, HistoryLimits, KeyedPosition, LogBatch, LogEntry, LogPosition, LogRecord, LogState, LogStatus,
  MemberLog, RunLog
} from '../log.ts'
import { OrderedTail } from '../ordered-tail.ts'
import { TailListeners } from '../tail-listeners.ts'
import { answerOf } from '../timely.ts'
import {
  channelArguments, decodeReplies, fingerprintOf, storedLimits, type ChannelArguments, type ChannelReply,
  type KnownPosition, type StoredLimits
} from './channel-state.ts'
import { isConnection, rowsOf } from './client.ts'
import type { PostgresContext } from './context.ts'
import { contradicts, type SealedHead } from './entry-seal.ts'
import { KnownPositions } from './known-positions.ts'
import { toLogError } from './log-error.ts'
import type { AppendedState, AppendingChannel } from './turn-queue.ts'

// Milliseconds. The last notification may be lost, and no later one shows it.
const CHECK_INTERVAL = 15_000
// Milliseconds. An unused log is closed after this time at the latest; the next use opens it again.
const IDLE_AFTER = 300_000

export class PostgresLog implements RunLog, MemberLog, AppendingChannel {
  readonly name: string
  readonly limits: StoredLimits
  pending = 0
  /** Names the channel in a notification; empty before the first answer. */
  nameHash = ''
  readonly #context: PostgresContext
  readonly #positions = new KnownPositions()
  readonly #listeners = new TailListeners(() => this.#listen(), () => this.#stopListening())
  readonly #idleAfter: number
  #ordered: OrderedTail | undefined
  #checkedAt = 0
  #usedAt = performance.now()
  #closed = false

  constructor (name: string, history: HistoryLimits, context: PostgresContext) {
    this.name = name
    this.limits = storedLimits(history)
    this.#context = context
    this.#idleAfter = Math.min(history.maxAge, IDLE_AFTER)
  }

  /** Settles when the tails of this channel on this node have begun; undefined if none begins. */
  get starting (): Promise<void> | undefined { return this.#context.starting.get(this.name) }

  get known (): KnownPosition { return this.#positions.current }

  /** Whether it has a tail. */
  get listens (): boolean { return this.#ordered !== undefined }

  append (record: LogRecord): Promise<LogPosition> {
    return this.#closed ? Promise.reject(new FST_SSE_CLOSING()) : this.#context.appends.append(this, record)
  }

  appendOnce (record: LogRecord, key: string): Promise<KeyedPosition> {
    return this.#closed ? Promise.reject(new FST_SSE_CLOSING()) : this.#context.appends.appendOnce(this, record, key)
  }

  async appendIn (client: unknown, record: LogRecord, key?: string): Promise<void> {
    if (!isConnection(client)) throw new FST_SSE_OPTION('client', 'a connected client of pg', describe(client))
    const { event, data, json } = record
    const { events, bytes, age } = this.limits
    const { database, timeout } = this.#context
    const [row] = await this.#timely(async () => {
      await database.ready()
      await this.starting
      return await rowsOf(client, `SELECT "${database.schema}".publish_record($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
        [this.name, event, json, fingerprintOf(record), key, Buffer.from(data), events, bytes, age], timeout)
    })
    if (row?.[0] === 'f') throw new FST_SSE_CHANNEL_ENDED()
  }

  async read (after: number, limit: number): Promise<LogBatch> {
    await this.starting
    const { epoch, newest, ended, entries } = await this.#answered(this.#read(after, limit))
    return { epoch, newest, ended, entries }
  }

  async state (): Promise<LogState> {
    // Later entries are after the start of the tail.
    await this.starting
    const reply = this.#context.reader.state(this.#asKnown, () => !this.#closed)
    const { epoch, oldest, newest, ended } = await this.#answered(reply)
    return { epoch, oldest, newest, ended }
  }

  tail (listener: (batch: LogBatch) => void): () => void {
    return this.#closed ? () => {} : this.#listeners.add(listener)
  }

  end (last?: LogRecord, outcome?: string): Promise<void> { return this.#context.appends.end(this, last, outcome) }

  async peek (): Promise<LogStatus | undefined> {
    const { epoch, offset, at } = this.known
    const { database } = this.#context
    const [row] = await this.#timely(isWanted => database.run(`
      SELECT epoch, newest, ended, outcome, owner, NOT ended AND leased_until > "${database.schema}".microseconds()
      FROM "${database.schema}".channels WHERE name = $1
        AND NOT (epoch = $2 AND (newest < $3 OR (newest = $3 AND appended_at <> $4)))`,
    [this.name, epoch, offset, at], isWanted))
    if (row === undefined) return undefined
    return {
      epoch: row[0]!,
      newest: Number(row[1]),
      ended: row[2] === 't',
      outcome: row[3] ?? undefined,
      owner: row[4] ?? undefined,
      leased: row[5] === 't'
    }
  }

  async lease (owner: string, duration: number): Promise<boolean> {
    return (await this.#call('lease', [owner, microseconds(duration)]))[0]?.[0] === 't'
  }

  async hold (holder: string, { add, remove, fingerprint }: HeldMembers, duration: number): Promise<boolean> {
    const values = [holder, add, remove, fingerprintOf({ fingerprint }), microseconds(duration)]
    const [row] = await this.#call('hold', values)
    if (row?.[0] === '-1') throw new FST_SSE_CHANNEL_ENDED()
    return row?.[0] === '1'
  }

  async members (): Promise<readonly string[]> {
    return (await this.#call('members', [])).map(([member]) => member!)
  }

  /** Returns true after a time without use: PostgreSQL stores the entries for clients that reconnect. */
  isIdle (): boolean {
    return this.#listeners.size === 0 && this.pending === 0 && performance.now() - this.#usedAt >= this.#idleAfter
  }

  close (): void {
    if (this.#closed) return
    this.#closed = true
    this.#listeners.clear()
    this.#context.open.delete(this)
    this.#context.onChange(this)
  }

  onAppended ({ epoch, newest, at, before, ended, known }: AppendedState, entries: readonly LogEntry[]): void {
    this.#usedAt = performance.now()
    // A notification of another node has moved the position meanwhile: these entries may follow it.
    const isMoved = known !== this.known && entries.length > 0
    if (isMoved) this.#positions.follow({ epoch, newest, at, before, ended, entries })
    this.#positions.answer({ epoch, newest, at }, known)
    if (entries.length > 0 || ended) this.#ordered?.onMessage({ epoch, newest, ended, entries })
  }

  /** Called for a notification. Without entries it is a hint: any user of the database may send one. */
  onNotification (newest: number, changed: boolean, head?: SealedHead): void {
    const position = this.#ordered?.position
    // Read after the start anyway.
    if (position === undefined) return
    const differs = head !== undefined && (head.epoch !== position.epoch || contradicts(head, this.known))
    if (newest <= position.offset && !changed && !differs) return
    const batch = differs ? undefined : head?.batch()
    if (batch !== undefined && this.#positions.follow(batch)) return this.#ordered!.onMessage(batch)
    const hint = Math.max(newest, position.offset + 1)
    this.#ordered!.onMessage({ epoch: position.epoch, newest: hint, ended: false, entries: [] })
  }

  /** Reads the entries that the tail misses. */
  check (): void {
    this.#checkedAt = performance.now()
    this.onNotification(0, true)
  }

  /** Called about once a second. */
  tick (now: number): void {
    if (this.#positions.isDue || now - this.#checkedAt >= CHECK_INTERVAL) this.check()
  }

  timeoutError (): Error {
    return new FST_SSE_LOG_UNAVAILABLE(this.name,
      `did not answer within ${this.#context.timeout} milliseconds: the event may still be appended`)
  }

  toError (cause: unknown): Error { return toLogError(this.name, cause) }

  #listen (): void {
    if (this.#ordered !== undefined) return
    const tail: OrderedTail = this.#ordered = new OrderedTail({
      read: after => this.#readMissing(after, tail),
      deliver: batch => this.#listeners.deliver(batch)
    })
    this.#context.onChange(this)
    // Start at the current end of the log, before any later append of this node.
    const { starting } = this.#context
    const begun = Promise.all([starting.get(this.name), this.#start(tail)]).then(() => {
      if (starting.get(this.name) === begun) starting.delete(this.name)
    })
    starting.set(this.name, begun)
  }

  async #start (tail: OrderedTail): Promise<void> {
    try {
      tail.start(await this.#answered(this.#context.reader.state(this.#asKnown, () => this.#ordered === tail)))
      // The hash of the name is known only now: a notification may have arrived before.
      this.#context.onChange(this)
      this.check()
    } catch {
      // Rejected, or no longer wanted: the next call of a user reports the reason, and the next check starts again.
    }
  }

  #stopListening (): void {
    if (this.#ordered === undefined) return
    this.#usedAt = performance.now()
    this.#ordered.close()
    this.#ordered = undefined
    this.#context.onChange(this)
  }

  async #readMissing (after: number, tail: OrderedTail): Promise<ChannelReply> {
    const known = this.#positions.take()
    const isWanted = (): boolean => this.#ordered === tail
    try {
      return await this.#answered(this.#context.reader.read({ ...this.#asKnown, known }, after, isWanted), known, true)
    } catch (error) {
      this.#positions.restore(known)
      throw error
    }
  }

  /** The arguments of a request, which may be sent later. */
  get #asKnown (): ChannelArguments { return { name: this.name, limits: this.limits, known: this.known } }

  async #read (after: number, limit: number): Promise<ChannelReply> {
    const values = [...channelArguments([this]), [after], limit, false]
    return decodeReplies(await this.#context.database.call('read', values, () => !this.#closed))[0]!
  }

  /** Takes what an answer says about the channel. */
  async #answered (answer: Promise<ChannelReply>, known = this.known, delivers = false): Promise<ChannelReply> {
    this.#usedAt = performance.now()
    try {
      const reply = await answer
      this.nameHash = reply.nameHash
      this.#positions.answer(reply, known, delivers)
      return reply
    } catch (error) {
      throw toLogError(this.name, error)
    }
  }

  #call (name: string, values: unknown[]): Promise<Array<Array<string | null>>> {
    return this.#timely(async isWanted => {
      // Later entries are after the start of the tail.
      await this.starting
      return await this.#context.database.call(name, [...channelArguments([this]), ...values], isWanted)
    })
  }

  /** Calls the database for a caller that waits for a limited time. */
  #timely<T> (step: (isWanted: () => boolean) => Promise<T>): Promise<T> {
    this.#usedAt = performance.now()
    return answerOf(this.name, this.#context.timeout, isWanted =>
      step(() => isWanted() && !this.#closed).catch((error: unknown) => { throw toLogError(this.name, error) }))
  }
}

const microseconds = (duration: number): number => Math.ceil(duration * 1_000)
