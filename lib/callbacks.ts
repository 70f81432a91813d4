import type { FastifyReply } from 'fastify'
import { freeContract, type Contract } from './events.ts'
import type { CloseReport, ResolvedOptions } from './options.ts'
import { problemEvent } from './problem.ts'

/** The user's functions that a stream calls: what goes wrong in one is in the log, and ends nothing that it should not end. */
export class Callbacks {
  readonly #reply: FastifyReply
  readonly #options: ResolvedOptions
  readonly #contract: Contract

  constructor (reply: FastifyReply, options: ResolvedOptions, contract: Contract) {
    this.#reply = reply
    this.#options = options
    this.#contract = contract
  }

  /** What to do with an event that cannot be sent. Throws what `onInvalid` throws. */
  choose (error: Error, event: unknown): 'error' | 'skip' {
    const { onInvalid } = this.#options
    const choice = typeof onInvalid === 'function' ? onInvalid(error, event) : onInvalid
    this.#heed(choice)
    if (choice === 'skip') this.#reply.log.warn({ err: error }, 'sse event left out')
    return choice
  }

  /** The frame of the last event of a stream that failed; nothing where there is none. */
  errorFrame (error: Error): string {
    const { errorEvent } = this.#options
    const { request } = this.#reply
    try {
      const event = errorEvent === undefined ? problemEvent(error, request.id) : errorEvent?.(error, request) ?? null
      if (event === null) return ''
      this.#heed(event)
      return (this.#contract.declares(event) ? this.#contract : freeContract).frame(event)
    } catch (err) {
      this.#reply.log.error({ err }, 'sse error event could not be made')
      return ''
    }
  }

  closed (report: CloseReport): void {
    try {
      this.#heed(this.#options.onClose?.(report))
    } catch (err) {
      this.#reply.log.error({ err }, 'sse callback failed')
    }
  }

  /** A callback that is async by mistake: its rejection must not end the process. */
  #heed (result: unknown): void {
    if (result instanceof Promise) result.catch(err => this.#reply.log.error({ err }, 'sse callback failed'))
  }
}
