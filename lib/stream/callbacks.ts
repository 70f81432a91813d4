import type { FastifyReply } from 'fastify'
import { freeContract, type Contract } from '../contract/contract.ts'
import { logSafely } from '../log-safely.ts'
import type { CloseReport } from '../lifecycle.ts'
import type { ResolvedOptions } from './options.ts'
import { problemEvent } from '../contract/problem.ts'
import type { Scope } from '../scope.ts'
import { catchRejection } from '../source/source.ts'

/** The user's functions that a stream calls: what goes wrong in one is in the log, and ends nothing that it should not end. */
export class Callbacks {
  readonly #reply: FastifyReply
  readonly #options: ResolvedOptions
  readonly #contract: Contract
  /** The request's scope, in which all of them run. */
  readonly #scope: Scope

  constructor (reply: FastifyReply, options: ResolvedOptions, contract: Contract, scope: Scope) {
    this.#reply = reply
    this.#options = options
    this.#contract = contract
    this.#scope = scope
  }

  /** What to do with an event that cannot be sent. Throws what `onInvalid` throws. */
  choose (error: Error, event: unknown): 'error' | 'skip' {
    const { onInvalid } = this.#options
    const choice = typeof onInvalid === 'function' ? this.#scope.runInAsyncScope(onInvalid, undefined, error, event) : onInvalid
    this.#heed(choice)
    if (choice === 'skip') logSafely(this.#reply.log, 'warn', { err: error }, 'sse event left out')
    return choice
  }

  /** The frame of the last event of a stream that failed; nothing where there is none. */
  errorFrame (error: Error): string {
    const { errorEvent } = this.#options
    const { request } = this.#reply
    try {
      if (errorEvent === null) return ''
      const event = errorEvent === undefined ? problemEvent(error, request.id) : this.#scope.runInAsyncScope(errorEvent, undefined, error, request) ?? null
      if (event === null) return ''
      this.#heed(event)
      return (this.#contract.declares(event) ? this.#contract : freeContract).frame(event)
    } catch (err) {
      logSafely(this.#reply.log, 'error', { err }, 'sse error event could not be made')
      return ''
    }
  }

  closed (report: CloseReport): void {
    try {
      const { onClose } = this.#options
      if (onClose !== undefined) this.#heed(this.#scope.runInAsyncScope(onClose, undefined, report))
    } catch (err) {
      this.#failed(err)
    }
  }

  /** A callback that is async by mistake: its rejection must not end the process. */
  #heed (result: unknown): void {
    catchRejection(result, this.#failed)
  }

  readonly #failed = (err: unknown): void => this.#scope.runInAsyncScope(logSafely, undefined, this.#reply.log, 'error', { err }, 'sse callback failed')
}
