import type { FastifyBaseLogger } from 'fastify'
import type { Reviewed } from './chunk.ts'
import { FST_SSE_SERIALIZE } from '../errors.ts'
import { freeContract, type Contract } from '../events.ts'
import { FAILURE, FREE } from '../fingerprint.ts'
import type { LogEntry } from '../log/log.ts'
import type { Statistics } from '../statistics.ts'

// What was written anew is kept for the next reader, up to so many characters.
const MAX_KEPT = 1_048_576
// What an entry costs beside its data.
const OVERHEAD = 64
// Names in a log that does not fit may be any: so many kinds are told of.
const MAX_KINDS = 100

/**
 * Entries of other code, checked by the map of this process: a log outlives a deploy, and what it holds may declare more than the map does now, or
 * less. An entry that was written by the same schema is left alone; any other is checked and written anew, once for all readers.
 */
export class Review {
  readonly #contract: Contract
  readonly #channel: string
  readonly #statistics: Pick<Statistics, 'omitted'>
  readonly #logger: Pick<FastifyBaseLogger, 'warn'>
  readonly #kept = new Map<string, Reviewed>()
  readonly #kinds = new Set<string>()
  #size = 0

  constructor (contract: Contract, channel: string, statistics: Pick<Statistics, 'omitted'>, logger: Pick<FastifyBaseLogger, 'warn'>) {
    this.#contract = contract
    this.#channel = channel
    this.#statistics = statistics
    this.#logger = logger
  }

  of (entry: LogEntry, epoch: string): Reviewed {
    if (this.#contract.wrote(entry)) return entry
    const place = `${epoch}-${entry.offset}`
    const known = this.#kept.get(place)
    if (known !== undefined) return known
    const reviewed = this.#review(entry)
    this.#keep(place, reviewed)
    return reviewed
  }

  #review (entry: LogEntry): Reviewed {
    const { offset } = entry
    try {
      // The map knows nothing of it, and still it is how the channel ended.
      const isFailure = entry.fingerprint === FAILURE && entry.event === 'error' && !this.#contract.declares({ event: 'error', data: null })
      const written = (isFailure ? freeContract : this.#contract).write(unwritten(entry))
      // Where there is no schema its text stays as it is: no number loses a digit.
      if (written.fingerprint === FREE) return { ...entry, event: written.event, fingerprint: isFailure ? FAILURE : FREE }
      return { ...written, offset }
    } catch (error) {
      this.#statistics.omitted++
      this.#tell(entry.event, error)
      return { offset, event: 'message', data: '', json: false, omitted: true }
    }
  }

  /** Once for all events of one name that are left out for one reason. */
  #tell (event: string, err: unknown): void {
    const kind = `${String((err as { code?: unknown }).code)} ${event}`
    if (this.#kinds.has(kind) || this.#kinds.size >= MAX_KINDS) return
    this.#kinds.add(kind)
    this.#logger.warn({ err, channel: this.#channel, event }, 'sse events of the log do not fit the map and are left out')
  }

  #keep (place: string, entry: Reviewed): void {
    this.#kept.set(place, entry)
    this.#size += entry.data.length + OVERHEAD
    for (const oldest = this.#kept.entries(); this.#size > MAX_KEPT;) {
      const [first, { data }] = oldest.next().value!
      this.#kept.delete(first)
      this.#size -= data.length + OVERHEAD
    }
  }
}

/** As it was published. */
function unwritten ({ event, data, json }: LogEntry): { event: string, data: unknown } {
  try {
    return { event, data: json ? JSON.parse(data) : data }
  } catch {
    throw new FST_SSE_SERIALIZE(event, '/', 'it is not JSON')
  }
}
