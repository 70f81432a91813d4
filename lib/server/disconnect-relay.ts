import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { ControlLog } from './control-log.ts'
import { FST_SSE_CLOSING, FST_SSE_NO_KEY, FST_SSE_OPTION, describe } from '../errors.ts'
import { logSafely } from '../log-safely.ts'
import type { EventLog, LogEntry } from '../log/log.ts'
import { isThenable, catchRejection } from '../source/source.ts'

/** A stream that `disconnect()` may end. */
interface Revocable {
  readonly record: { readonly key: string | undefined, readonly request: FastifyRequest }
  revoke: (reason?: string) => void
}

export interface DisconnectRelaySetup {
  streams: Iterable<Revocable>
  /** Whether streams have keys. */
  keyed: boolean
  /** Opens the log that the nodes share; undefined if there is none. */
  eventLog: (() => EventLog) | undefined
  log: FastifyBaseLogger
}

/** Ends streams for `disconnect()`. The other nodes get a message, and end the streams of the same key. */
export class DisconnectRelay {
  readonly #setup: DisconnectRelaySetup
  #control: ControlLog | undefined
  #closed = false

  constructor (setup: DisconnectRelaySetup) {
    this.#setup = setup
  }

  async disconnect (target: string | ((request: FastifyRequest) => boolean), reason?: string): Promise<number> {
    if (typeof target === 'function') return this.#end(({ request }) => matches(target, request), validReason(reason))
    const message = { key: validKey(target), reason: validReason(reason) }
    if (!this.#setup.keyed) throw new FST_SSE_NO_KEY()
    const ended = this.#endKey(message)
    await this.#open()?.send({ event: 'disconnect', data: JSON.stringify(message), json: true })
    return ended
  }

  /** Receives the messages of other nodes, until `close()`. */
  start (): void {
    if (this.#setup.keyed) this.#open()?.start()
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
    const { eventLog, log: logger } = this.#setup
    if (eventLog === undefined) return undefined
    if (this.#closed) throw new FST_SSE_CLOSING()
    return (this.#control ??= new ControlLog({
      log: eventLog(),
      listener: message => this.#onMessage(message),
      logger
    }))
  }

  /**
   * Ends the streams of a key. Other programs can write to the store, so a message is checked like the arguments of a
   * call.
   */
  #onMessage ({ event, data }: LogEntry): void {
    // A later version may add properties.
    if (event !== 'disconnect') return
    const { key, reason } = Object(JSON.parse(data)) as Record<string, unknown>
    this.#endKey({ key: validKey(key), reason: validReason(reason) })
  }

  #endKey ({ key, reason }: { key: string, reason: string | undefined }): number {
    return this.#end(record => record.key === key, reason)
  }

  /** Returns the number of streams that it ended. If the predicate throws, no stream ends. */
  #end (isTarget: (record: Revocable['record']) => boolean, reason: string | undefined): number {
    const targets = [...this.#setup.streams].filter(({ record }) => isTarget(record))
    for (const stream of targets) stream.revoke(reason)
    return targets.length
  }
}

/** Throws FST_SSE_OPTION for a key that is no string: `undefined` would match streams without a key. */
function validKey (key: unknown): string {
  if (typeof key === 'string') return key
  throw new FST_SSE_OPTION('target', 'a key, which is a string, or a function of the request', describe(key))
}

function validReason (reason: unknown): string | undefined {
  if (reason === undefined || typeof reason === 'string') return reason
  throw new FST_SSE_OPTION('reason', 'a string', describe(reason))
}

/**
 * Returns the result of the user's predicate. Throws FST_SSE_OPTION for another value: a promise would match every
 * stream.
 */
function matches (predicate: (request: FastifyRequest) => unknown, request: FastifyRequest): boolean {
  const result = predicate(request)
  if (typeof result === 'boolean') return result
  // A predicate that is async by mistake: its rejection must not end the process.
  catchRejection(result)
  throw new FST_SSE_OPTION('target', 'a function that returns true or false',
    `one that returns ${isThenable(result) ? 'a promise' : describe(result)}`)
}
