import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { ControlLog } from './control-log.ts'
import { FST_SSE_CLOSING, FST_SSE_NO_KEY, FST_SSE_OPTION, describe } from '../errors.ts'
import { logSafely } from '../log-safely.ts'
import type { EventLog, LogEntry } from '../log/log.ts'
import { isThenable } from '../source/source.ts'

/** What is ended. */
interface Revocable {
  readonly record: { readonly key: string | undefined, readonly request: FastifyRequest }
  revoke: (why?: string) => void
}

export interface DisconnectRelaySetup {
  streams: Iterable<Revocable>
  /** Whether streams have keys. */
  keyed: boolean
  /** Opens the log that the nodes share; undefined where there is none. */
  eventLog: (() => EventLog) | undefined
  log: FastifyBaseLogger
}

/** Ends streams for `disconnect()`, those of a key on all nodes: the other nodes get a message. */
export class DisconnectRelay {
  readonly #setup: DisconnectRelaySetup
  #control: ControlLog | undefined
  #closed = false

  constructor (setup: DisconnectRelaySetup) {
    this.#setup = setup
  }

  async disconnect (who: string | ((request: FastifyRequest) => boolean), why?: string): Promise<number> {
    if (typeof who === 'function') return this.#end(({ request }) => answerOf(who, request), checkedWhy(why))
    const message = { key: checkedKey(who), why: checkedWhy(why) }
    if (!this.#setup.keyed) throw new FST_SSE_NO_KEY()
    const ended = this.#endKey(message)
    await this.#open()?.send({ event: 'disconnect', data: JSON.stringify(message), json: true })
    return ended
  }

  /** Follows the messages of other nodes, until `close()`. */
  follow (): void {
    if (this.#setup.keyed) this.#open()?.follow()
  }

  close (): void {
    this.#closed = true
    try {
      this.#control?.close()
    } catch (err) {
      logSafely(this.#setup.log, 'error', { err }, 'sse log failed')
    }
  }

  #open (): ControlLog | undefined {
    const { eventLog: openLog, log: logger } = this.#setup
    if (openLog === undefined) return undefined
    if (this.#closed) throw new FST_SSE_CLOSING()
    return (this.#control ??= new ControlLog({ log: openLog(), listener: message => this.#heard(message), logger }))
  }

  /** Other programs can write to the store: a message is checked like the arguments of a call. */
  #heard ({ event, data }: LogEntry): void {
    // A later version may add properties.
    if (event !== 'disconnect') return
    const { key, why } = Object(JSON.parse(data)) as Record<string, unknown>
    this.#endKey({ key: checkedKey(key), why: checkedWhy(why) })
  }

  #endKey ({ key, why }: { key: string, why: string | undefined }): number {
    return this.#end(account => account.key === key, why)
  }

  #end (isMeant: (account: Revocable['record']) => boolean, why: string | undefined): number {
    const meant = [...this.#setup.streams].filter(({ record: account }) => isMeant(account))
    for (const stream of meant) stream.revoke(why)
    return meant.length
  }
}

/** A stream without a key matches no key. */
function checkedKey (key: unknown): string {
  if (typeof key === 'string') return key
  throw new FST_SSE_OPTION('who', 'a key, which is a string, or a function of the request', describe(key))
}

function checkedWhy (why: unknown): string | undefined {
  if (why === undefined || typeof why === 'string') return why
  throw new FST_SSE_OPTION('why', 'a string', describe(why))
}

/** A promise would count as a yes for every stream. An answer other than true and false ends none. */
function answerOf (who: (request: FastifyRequest) => unknown, request: FastifyRequest): boolean {
  const answer = who(request)
  if (typeof answer === 'boolean') return answer
  const isPromise = isThenable(answer)
  // A function that is async by mistake: its rejection must not end the process.
  if (isPromise) Promise.resolve(answer).catch(() => {})
  throw new FST_SSE_OPTION('who', 'a function that returns true or false', `one that returns ${isPromise ? 'a promise' : describe(answer)}`)
}
