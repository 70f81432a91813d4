import type { FastifyBaseLogger } from 'fastify'
import type { ReviewedEntry } from './frame-batch.ts'
import { FST_SSE_SERIALIZE } from '../errors.ts'
import { freeContract, type Contract } from '../contract/contract.ts'
import { FAILURE, FREE } from '../schema/fingerprint.ts'
import type { LogEntry } from '../log/log.ts'
import { logSafely } from '../log-safely.ts'
import type { Statistics } from '../metrics/statistics.ts'

// Rewritten entries are kept for the next reader. In characters.
const MAX_KEPT = 1_048_576
// The cost of an entry beside its data, in characters.
const OVERHEAD = 64
// A log that does not fit may hold any number of names: at most so many kinds are logged.
const MAX_KINDS = 100

/**
 * Checks entries of other code by the map of this process: a log outlives a deploy, and its entries may have more
 * properties than the map now declares, or fewer. An entry of the same schema stays as it is; any other is checked and
 * written anew, once for all readers.
 */
export class EntryReview {
  readonly #contract: Contract
  readonly #channel: string
  readonly #statistics: Pick<Statistics, 'omitted'>
  readonly #logger: Pick<FastifyBaseLogger, 'warn'>
  readonly #kept = new Map<string, ReviewedEntry>()
  readonly #kinds = new Set<string>()
  #size = 0

  constructor (contract: Contract, channel: string, statistics: Pick<Statistics, 'omitted'>, logger: Pick<FastifyBaseLogger, 'warn'>) {
    this.#contract = contract
    this.#channel = channel
    this.#statistics = statistics
    this.#logger = logger
  }

  of (entry: LogEntry, epoch: string): ReviewedEntry {
    if (this.#contract.matches(entry)) return entry
    const place = `${epoch}-${entry.offset}`
    const known = this.#kept.get(place)
    if (known !== undefined) return known
    const reviewed = this.#review(entry)
    this.#keep(place, reviewed)
    return reviewed
  }

  #review (entry: LogEntry): ReviewedEntry {
    const { offset } = entry
    try {
      // The map does not declare this event, but the channel ended with it.
      const isFailure = entry.fingerprint === FAILURE && entry.event === 'error' && !this.#contract.declares({ event: 'error', data: null })
      const written = (isFailure ? freeContract : this.#contract).serialize(unwritten(entry))
      // Without a schema the text stays as it is: no number loses a digit.
      if (written.fingerprint === FREE) return { ...entry, event: written.event, fingerprint: isFailure ? FAILURE : FREE }
      return { ...written, offset }
    } catch (error) {
      this.#statistics.omitted++
      this.#tell(entry.event, error)
      return { offset, event: 'message', data: '', json: false, omitted: true }
    }
  }

  /** Logs one line for all events of one name that are left out for one reason. */
  #tell (event: string, err: unknown): void {
    const kind = `${String((err as { code?: unknown }).code)} ${event}`
    if (this.#kinds.has(kind) || this.#kinds.size >= MAX_KINDS) return
    this.#kinds.add(kind)
    logSafely(this.#logger, 'warn', { err, channel: this.#channel, event }, 'sse events of the log do not fit the map and are left out')
  }

  #keep (place: string, entry: ReviewedEntry): void {
    this.#kept.set(place, entry)
    this.#size += entry.data.length + OVERHEAD
    for (const oldest = this.#kept.entries(); this.#size > MAX_KEPT;) {
      const [first, { data }] = oldest.next().value!
      this.#kept.delete(first)
      this.#size -= data.length + OVERHEAD
    }
  }
}

/** The event as it was published. */
function unwritten ({ event, data, json }: LogEntry): { event: string, data: unknown } {
  try {
    return { event, data: json ? JSON.parse(data) : data }
  } catch {
    throw new FST_SSE_SERIALIZE(event, '/', 'it is not JSON')
  }
}
