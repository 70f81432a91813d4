import { AppendBatches, type AppendCommand, type AppendSource } from './append-batches.ts'
import type { QueuedRecord } from './append-queue.ts'
import type { RedisContext } from './context.ts'
import type { KnownPosition } from './known-position.ts'
import { toLogError } from './log-error.ts'
import { decodeAppend, kindOf, type AppendReply } from './script-reply.ts'

// Milliseconds for which the right to publish counts as checked.
const PUBLISH_CHECK_TTL = 60_000

const hasKey = ({ key }: QueuedRecord): boolean => key !== undefined

/** The log that the appends are for. */
export interface AppendingLog {
  readonly known: KnownPosition
  /** Whether a caller still waits for the records that were taken. */
  readonly isWanted: boolean
  /** Returns the records of the next batch; none if no caller waits any more. */
  take: () => readonly QueuedRecord[]
  /** Receives the answer for the records that were taken. `known`: the position that was known then. */
  appended: (reply: AppendReply, known: KnownPosition) => void
  reject: (error: unknown) => void
}

type AppendContext = Pick<RedisContext, 'batches' | 'commands' | 'publish' | 'db' | 'secret'>

/** The appends of one channel, in the commands of many. */
export class ChannelAppends implements AppendSource {
  readonly #name: string
  readonly #keys: readonly [hash: string, stream: string]
  readonly #bounds: string
  /** The terms of one record without a key: one text for most appends. */
  readonly #plainTerms: string
  readonly #batches: AppendBatches
  readonly #log: AppendingLog
  #known: KnownPosition | undefined
  #checkedAt = -Infinity
  /** When the batch under way began to check the right to publish; undefined if it does not. */
  #checksAt: number | undefined

  /** `bounds`: the limits of the history, and the time to live of the hash. */
  constructor (
    name: string,
    keys: readonly [hash: string, stream: string],
    bounds: ReadonlyArray<string | number>,
    { batches, commands, publish, db, secret }: AppendContext,
    log: AppendingLog
  ) {
    this.#name = name
    this.#keys = keys
    this.#bounds = bounds.join(' ')
    this.#plainTerms = this.#terms(false, 0, 1)
    this.#log = log
    const options = { key: `${keys[0]}:`, count: 1, publish, suffix: `@${db}`, secret }
    this.#batches = batches ?? new AppendBatches(commands, options)
  }

  get isWanted (): boolean { return this.#log.isWanted }

  /** Appends the records that the log has by then. */
  request (): void { this.#batches.add(this) }

  addTo (command: AppendCommand): boolean {
    const records = this.#log.take()
    if (records.length === 0) return false
    const known = this.#known = this.#log.known
    const now = performance.now()
    this.#checksAt = now - this.#checkedAt >= PUBLISH_CHECK_TTL ? now : undefined
    const { keys, keyed, args } = command
    const [hash, stream] = this.#keys
    keys.push(hash, stream)
    const before = keyed.length
    const isKeyed = records.some(hasKey)
    const terms = args.push(`${known.epoch} ${known.offset} ${known.appendedAt}`, this.#plainTerms) - 1
    for (const { record, key } of records) {
      args.push(record.event, kindOf(record), record.data)
      // The index in the keys of the channel: the hash and the stream come first.
      if (isKeyed) args.push(key === undefined ? '' : String(2 + keyed.push(`${hash}:key:${key}`) - before))
      command.size += record.data.length
    }
    command.records += records.length
    const probes = this.#checksAt !== undefined
    const isPlain = !isKeyed && !probes && records.length === 1
    if (!isPlain) args[terms] = this.#terms(probes, keyed.length - before, records.length)
    return true
  }

  answered (line: string): void {
    const known = this.#known!
    this.#known = undefined
    this.#checkedAt = this.#checksAt ?? this.#checkedAt
    const reply = decodeAppend(line, known.epoch, known.secret)
    if (reply !== undefined) this.#log.appended(reply, known)
    else this.failed(new Error('Redis answered with something else than the script of appends does'))
  }

  #terms (probes: boolean, keys: number, records: number): string {
    return `${this.#bounds} ${probes ? 1 : 0} ${keys} ${records}`
  }

  failed (error: unknown): void { this.#log.reject(toLogError(this.#name, error)) }
}
