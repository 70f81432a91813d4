import type { FastifyBaseLogger } from 'fastify'
import type { ReviewedEntry } from './frame-batch.ts'
import { FST_SSE_SERIALIZE } from '../errors.ts'
import { freeContract, type Contract } from '../contract/contract.ts'
import { FAILURE, FREE } from '../schema/fingerprint.ts'
import { logEntry } from '../log/log-entry.ts'
import type { LogEntry } from '../log/log.ts'
import { logSafely } from '../log-safely.ts'
import type { Statistics } from '../metrics/statistics.ts'

// Rewritten entries are cached for the next reader, up to this size in characters.
const MAX_CACHED = 1_048_576
// The cost of an entry beside its data, in characters.
const OVERHEAD = 64
// A log that does not match may hold any number of event names: at most this many kinds are logged.
const MAX_KINDS = 100

/**
 * Checks entries of other code by the event map of this process: a log outlives a deploy, and its entries may have more
 * properties than the map now declares, or fewer. An entry of the same schema is returned as it is; any other is
 * validated and serialized again, once for all readers.
 */
export class EntryReview {
  readonly #contract: Contract
  readonly #channel: string
  readonly #statistics: Pick<Statistics, 'omitted'>
  readonly #logger: Pick<FastifyBaseLogger, 'warn'>
  #cache: Map<string, ReviewedEntry> | undefined
  #kinds: Set<string> | undefined
  #size = 0

  constructor (
    contract: Contract,
    channel: string,
    statistics: Pick<Statistics, 'omitted'>,
    logger: Pick<FastifyBaseLogger, 'warn'>
  ) {
    this.#contract = contract
    this.#channel = channel
    this.#statistics = statistics
    this.#logger = logger
  }

  review (entry: LogEntry, epoch: string): ReviewedEntry {
    if (this.#contract.matches(entry)) return entry
    const position = `${epoch}-${entry.offset}`
    const cached = this.#cache?.get(position)
    if (cached !== undefined) return cached
    const reviewed = this.#rewrite(entry)
    this.#store(position, reviewed)
    return reviewed
  }

  #rewrite (entry: LogEntry): ReviewedEntry {
    const { offset } = entry
    try {
      // The channel ended with this event, which the map does not declare.
      const isFailure = entry.fingerprint === FAILURE && entry.event === 'error' &&
        !this.#contract.declares({ event: 'error', data: null })
      const written = (isFailure ? freeContract : this.#contract).serialize(publishedEvent(entry))
      // Without a schema the text is kept as it is: no number loses a digit.
      if (written.fingerprint === FREE) {
        return logEntry(offset, written.event, entry.data, entry.json, isFailure ? FAILURE : FREE)
      }
      return logEntry(offset, written.event, written.data, written.json, written.fingerprint)
    } catch (error) {
      this.#statistics.omitted++
      this.#logOmission(entry.event, error)
      return { offset, event: 'message', data: '', json: false, omitted: true }
    }
  }

  /** Logs one line for all events of one name that are omitted for one reason. */
  #logOmission (event: string, err: unknown): void {
    const kind = `${String((err as { code?: unknown }).code)} ${event}`
    const kinds = this.#kinds ??= new Set()
    if (kinds.has(kind) || kinds.size >= MAX_KINDS) return
    kinds.add(kind)
    logSafely(this.#logger, 'warn', { err, channel: this.#channel, event },
      'sse events in the log do not match the event map and are omitted')
  }

  #store (position: string, entry: ReviewedEntry): void {
    const cache = this.#cache ??= new Map()
    cache.set(position, entry)
    this.#size += entry.data.length + OVERHEAD
    for (const oldest = cache.entries(); this.#size > MAX_CACHED;) {
      const [first, { data }] = oldest.next().value!
      cache.delete(first)
      this.#size -= data.length + OVERHEAD
    }
  }
}

/** Returns the event as it was published. */
function publishedEvent ({ event, data, json }: LogEntry): { event: string, data: unknown } {
  try {
    return { event, data: json ? JSON.parse(data) : data }
  } catch {
    throw new FST_SSE_SERIALIZE(event, '/', 'it is not JSON')
  }
}
