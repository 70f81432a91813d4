import { FST_SSE_CHANNEL_ENDED } from '../../errors.ts'
import { Fifo } from '../../fifo.ts'
import { setImmediate } from '../../clock.ts'
import { sharedScope } from '../../scope.ts'
import type { KeyedPosition, LogEntry, LogPosition, LogRecord } from '../log.ts'
import { channelArguments, fingerprintOf, type ChannelArguments, type KnownPosition } from './channel-state.ts'
import type { EncryptedRecords, IndexedRecord } from './entry-seal.ts'

/** A channel that appends. */
export interface AppendingChannel extends ChannelArguments {
  /** Settles when its tail has begun; undefined if it need not wait. */
  readonly starting: Promise<void> | undefined
  /** The appends that have not settled. */
  pending: number
  /** Receives the state after an append, and the appended entries. */
  onAppended: (state: AppendedState, entries: readonly LogEntry[]) => void
  timeoutError: () => Error
  toError: (cause: unknown) => Error
}

export interface AppendedState {
  readonly epoch: string
  readonly newest: number
  /** The time of the newest entry. */
  readonly at: number
  /** The time of the entry before those of the append. */
  readonly before: number
  readonly ended: boolean
  /** The position that the channel had before, which the database has checked. */
  readonly known: KnownPosition
}

/** Calls the function `append`: resolves with its answer. Repeats it until it is done, or not wanted. */
export type CallAppend = (number: number, values: unknown[], isWanted: () => boolean) => Promise<string>

/** Encrypts the records of an append for its notifications; returns undefined if they do not fit. */
export type EncryptRecords = (records: readonly IndexedRecord[]) => EncryptedRecords | undefined

interface PendingAppend {
  channel: AppendingChannel
  record: LogRecord | undefined
  key: string | undefined
  /** The outcome, if this is the end of the log; empty without one. */
  end: string | undefined
  since: number
  /** Settles the caller's promise; undefined after that. */
  settle: { resolve: (position: KeyedPosition | LogPosition) => void, reject: (error: unknown) => void } | undefined
}

interface Answer {
  channels: Array<[epoch: string, newest: number, at: number, ended: boolean, before: number]>
  found: Array<[index: number, offset: number]> | null
}

const MAX_RECORDS = 2_000
const MAX_CHARACTERS = 1024 * 1024
// The maximal number of records of a batch whose notifications have the entries.
const MAX_ENCRYPTED = 500
const NOTHING_ENCRYPTED: EncryptedRecords = { texts: [], textOf: [], channelOf: [] }

/**
 * A queue of the appends and ends of all channels, in order. One batch is under way at a time; all that is added
 * meanwhile is the next batch. So a lost answer can be requested again by the number of its batch, and the higher the
 * load, the lower the cost of a record.
 */
export class TurnQueue {
  readonly #call: CallAppend
  readonly #timeout: number
  readonly #encrypt: EncryptRecords
  readonly #pending = new Fifo<PendingAppend>()
  #batch: PendingAppend[] = []
  #number = 0
  #sending = false
  #timer: NodeJS.Timeout | undefined

  constructor (call: CallAppend, timeout: number, encrypt: EncryptRecords = () => undefined) {
    this.#call = call
    this.#timeout = timeout
    this.#encrypt = encrypt
  }

  append (channel: AppendingChannel, record: LogRecord): Promise<LogPosition> {
    return this.#add({ channel, record, key: undefined, end: undefined })
  }

  appendOnce (channel: AppendingChannel, record: LogRecord, key: string): Promise<KeyedPosition> {
    return this.#add({ channel, record, key, end: undefined }) as Promise<KeyedPosition>
  }

  /** Ends the log after all records that were added before. */
  async end (channel: AppendingChannel, record?: LogRecord, outcome = ''): Promise<void> {
    await this.#add({ channel, record, key: undefined, end: outcome })
  }

  #add (append: Pick<PendingAppend, 'channel' | 'record' | 'key' | 'end'>): Promise<KeyedPosition | LogPosition> {
    return new Promise((resolve, reject) => {
      append.channel.pending++
      this.#pending.push({ ...append, since: performance.now(), settle: { resolve, reject } })
      // The timer and the batches serve many publishers, and run in no publisher's scope.
      this.#timer ??= sharedScope.runInAsyncScope(setTimeout, undefined, this.#onTimeout, this.#timeout)
      if (this.#sending) return
      this.#sending = true
      // Appends of this turn of the event loop join the batch.
      sharedScope.runInAsyncScope(setImmediate, undefined, this.#send)
    })
  }

  readonly #send = async (): Promise<void> => {
    while (this.#pending.size > 0) {
      const batch = this.#batch = this.#next()
      // Two logs may have one name, and are one channel of the statement.
      const channels = [...new Map(batch.map(({ channel }) => [channel.name, channel])).values()]
      try {
        for (const { channel } of batch) if (channel.starting !== undefined) await channel.starting
        const isWanted = (): boolean => batch.some(({ settle }) => settle !== undefined)
        const known = new Map(channels.map(({ name, known }) => [name, known]))
        const answer = await this.#call(++this.#number, argumentsOf(batch, channels, this.#encrypt), isWanted)
        this.#settle(batch, known, JSON.parse(answer) as Answer)
      } catch (error) {
        for (const pending of batch) fail(pending, pending.channel.toError(error))
      }
      for (const { channel } of batch) channel.pending--
    }
    this.#batch = []
    this.#sending = false
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Returns the next appends, up to the end of a channel that has more of them. */
  #next (): PendingAppend[] {
    const batch: PendingAppend[] = []
    const ended = new Set<string>()
    for (let size = 0; batch.length < MAX_RECORDS && size < MAX_CHARACTERS;) {
      const { first } = this.#pending
      if (first === undefined || ended.has(first.channel.name)) break
      if (first.end !== undefined) ended.add(first.channel.name)
      size += first.record?.data.length ?? 0
      batch.push(this.#pending.shift()!)
    }
    return batch
  }

  #settle (
    batch: readonly PendingAppend[],
    known: ReadonlyMap<string, KnownPosition>,
    { channels, found }: Answer
  ): void {
    const foundAt = new Map(found)
    const states = channels.map(([epoch, newest, at, ended, before]) =>
      ({ epoch, newest, at, before, ended, ends: ended, next: newest + 1, entries: [] as LogEntry[] }))
    const stateOf = new Map([...known.keys()].map((name, index) => [name, states[index]!]))
    const records = batch.filter(({ record }) => record !== undefined)
    const added = records.filter(({ channel }, index) => !stateOf.get(channel.name)!.ended && !foundAt.has(index))
    for (const { channel } of added) stateOf.get(channel.name)!.next--
    const isAdded = new Set(added)
    let record = 0
    const settle = batch.map(pending => {
      const state = stateOf.get(pending.channel.name)!
      const earlier = pending.record === undefined ? undefined : foundAt.get(record++)
      const appended = isAdded.has(pending)
      const offset = appended ? state.next++ : earlier ?? state.newest
      if (appended) state.entries.push(entryOf(pending.record!, offset))
      if (pending.end !== undefined) state.ends = true
      else if (state.ended && earlier === undefined) return () => fail(pending, new FST_SSE_CHANNEL_ENDED())
      const position = { epoch: state.epoch, offset }
      return () => pending.settle?.resolve(pending.key === undefined ? position : { ...position, appended })
    })
    for (const channel of new Set(batch.map(({ channel }) => channel))) {
      const { epoch, newest, at, before, ends, entries } = stateOf.get(channel.name)!
      channel.onAppended({ epoch, newest, at, before, ended: ends, known: known.get(channel.name)! }, entries)
    }
    for (const each of settle) each()
  }

  /** Rejects all appends that timed out, whether under way or queued. Queued ones will not be sent. */
  readonly #onTimeout = (): void => {
    const now = performance.now()
    const isLate = ({ since }: PendingAppend): boolean => now - since >= this.#timeout - 1
    for (const pending of this.#batch) if (isLate(pending)) fail(pending, pending.channel.timeoutError())
    while (this.#pending.size > 0 && isLate(this.#pending.first!)) {
      const pending = this.#pending.shift()!
      pending.channel.pending--
      fail(pending, pending.channel.timeoutError())
    }
    const next = this.#batch.find(({ settle }) => settle !== undefined) ?? this.#pending.first
    this.#timer = next === undefined
      ? undefined
      : setTimeout(this.#onTimeout, Math.max(1, next.since + this.#timeout - now))
  }
}

function fail (pending: PendingAppend, error: Error): void {
  pending.settle?.reject(error)
  pending.settle = undefined
}

/** Returns the arguments of `append` after the number. */
function argumentsOf (
  batch: readonly PendingAppend[],
  channels: readonly AppendingChannel[],
  encrypt: EncryptRecords
): unknown[] {
  const indexes = new Map(channels.map(({ name }, index) => [name, index + 1]))
  const ends: Array<string | null> = channels.map(() => null)
  const heads = new Map<string, number>()
  const [events, json, fingerprints]: [string[], boolean[], Array<string | null>] = [[], [], []]
  const of: number[] = []
  const [ranks, befores, headOf]: [number[], number[], number[]] = [[], [], []]
  const [starts, sizes]: [number[], number[]] = [[], []]
  const [counts, totals] = [channels.map(() => 0), channels.map(() => 0)]
  const headSizes: number[] = []
  const keys: Array<string | null> = []
  const data: Buffer[] = []
  const indexed: IndexedRecord[] = []
  let start = 1
  for (const { channel, record, key = null, end } of batch) {
    const index = indexes.get(channel.name)!
    if (end !== undefined) ends[index - 1] = end
    if (record === undefined) continue
    const fingerprint = fingerprintOf(record)
    const head = `${record.json ? 'j' : 't'}${fingerprint ?? ''} ${record.event}`
    if (!heads.has(head)) {
      heads.set(head, heads.size + 1)
      headSizes.push(Buffer.byteLength(record.event))
      events.push(record.event)
      json.push(record.json)
      fingerprints.push(fingerprint)
    }
    const bytes = Buffer.from(record.data)
    data.push(bytes)
    of.push(index)
    ranks.push(++counts[index - 1]!)
    befores.push(totals[index - 1]!)
    totals[index - 1]! += bytes.length + headSizes[heads.get(head)! - 1]!
    headOf.push(heads.get(head)!)
    starts.push(start)
    sizes.push(bytes.length)
    keys.push(key)
    indexed.push({ index, record })
    start += bytes.length
  }
  const isKeyed = keys.some(key => key !== null)
  // Of other appends, only the database knows the offsets.
  const isPlain = !isKeyed && ends.every(end => end === null) && data.length <= MAX_ENCRYPTED
  const { texts, textOf, channelOf } = (isPlain ? encrypt(indexed) : undefined) ?? NOTHING_ENCRYPTED
  return [...channelArguments(channels), ends, ...[counts, totals, of, ranks, befores, headOf, starts, sizes].map(list),
    isKeyed ? keys : null, events, json, fingerprints, Buffer.concat(data), texts, list(textOf), list(channelOf)]
}

/** Numbers as pg would write them, but without quotes: much faster. */
const list = (numbers: readonly number[]): string => `{${numbers.join()}}`

function entryOf ({ event, data, json, ...rest }: LogRecord, offset: number): LogEntry {
  const fingerprint = fingerprintOf(rest)
  return fingerprint === null ? { offset, event, data, json } : { offset, event, data, json, fingerprint }
}
