import { AppendBatches, type ChannelAppend } from './append-batches.ts'
import type { QueuedRecord } from './append-queue.ts'
import type { RedisContext } from './context.ts'
import type { KnownPosition } from './known-position.ts'
import { toLogError } from './log-error.ts'
import { decodeAppend, recordArguments, type AppendReply } from './script-reply.ts'

// Milliseconds for which the right to publish counts as checked.
const PUBLISH_CHECK_TTL = 60_000

/** The appends of one channel, in the commands of many. */
export class ChannelAppends {
  readonly #name: string
  readonly #keys: readonly [hash: string, stream: string]
  readonly #bounds: string
  readonly #batches: AppendBatches
  #checkedAt = -Infinity

  /** `bounds`: the limits of the history, and the time to live of the hash. */
  constructor (
    name: string,
    keys: readonly [hash: string, stream: string],
    bounds: ReadonlyArray<string | number>,
    { batches, commands, publish, db, secret }: Pick<RedisContext, 'batches' | 'commands' | 'publish' | 'db' | 'secret'>
  ) {
    this.#name = name
    this.#keys = keys
    this.#bounds = bounds.join(' ')
    const options = { key: `${keys[0]}:`, count: 1, publish, suffix: `@${db}`, secret }
    this.#batches = batches ?? new AppendBatches(commands, options)
  }

  /** Appends the records in one step. No async function: its frame would be the largest object of an append. */
  append (
    records: readonly QueuedRecord[],
    known: KnownPosition,
    isWanted: () => boolean
  ): Promise<AppendReply> {
    const now = performance.now()
    const probes = now - this.#checkedAt >= PUBLISH_CHECK_TTL
    return this.#batches.add(this.#appendOf(records, known, probes, isWanted)).then(line => {
      if (probes) this.#checkedAt = now
      return decodeAppend(line, known.epoch, known.secret) ??
        this.#fail(new Error('Redis answered with something else than the script of appends does'))
    }, this.#fail)
  }

  #appendOf (
    records: readonly QueuedRecord[],
    { epoch, offset, appendedAt }: KnownPosition,
    probes: boolean,
    isWanted: () => boolean
  ): ChannelAppend {
    const keys: [hash: string, stream: string, ...keyed: string[]] = [this.#keys[0], this.#keys[1]]
    const args = [`${epoch} ${offset} ${appendedAt}`, '']
    const isKeyed = records.some(({ key }) => key !== undefined)
    let size = 0
    for (const { record, key } of records) {
      for (const arg of recordArguments(record)) args.push(arg)
      size += record.data.length
      if (isKeyed) args.push(key === undefined ? '' : String(keys.push(`${keys[0]}:key:${key}`)))
    }
    args[1] = `${this.#bounds} ${probes ? 1 : 0} ${keys.length - 2} ${records.length}`
    return { keys, args, records: records.length, size, isWanted }
  }

  readonly #fail = (error: unknown): never => { throw toLogError(this.#name, error) }
}
