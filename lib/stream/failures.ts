import type { FastifyReply } from 'fastify'
import { freeContract, type Contract } from '../contract/contract.ts'
import { problemEvent } from '../contract/problem.ts'
import { FST_SSE_REVOKED, FST_SSE_SEND_AFTER_SSE, isError } from '../errors.ts'
import type { CloseReason, Lifecycle } from '../lifecycle.ts'
import { logSafely } from '../log-safely.ts'
import type { SourceDriver } from '../source/source.ts'
import { toError, isAbortError } from '../thrown-value.ts'
import type { ResolvedOptions } from './options.ts'
import type { StreamRecord } from './stream-record.ts'
import type { WireFormat } from '../wire/format.ts'

/** The stream whose failures are handled. */
export interface FailingStream {
  readonly reply: FastifyReply
  readonly options: Pick<ResolvedOptions, 'onInvalid' | 'errorEvent'>
  readonly contract: Contract
  readonly wire: WireFormat
  readonly lifecycle: Pick<Lifecycle, 'reason' | 'end'>
  readonly record: StreamRecord
  readonly driver: Pick<SourceDriver, 'rejectEvent' | 'stop'> | undefined
  readonly writer: { readonly isEmpty: boolean }
  readonly head: {
    readonly committed: boolean
    released: boolean
    commit: () => boolean
    sendError: (error: Error) => void
  }
  end: (reason: CloseReason, last: string) => void
}

/**
 * The errors of one stream: of its source, its events, its handler and its permission. Before the first byte, an error
 * becomes an ordinary error response. After it, the last event carries it.
 */
export class Failures {
  readonly #stream: FailingStream

  constructor (stream: FailingStream) {
    this.#stream = stream
  }

  /** Ends the stream with an error of its source. */
  fail (thrown: unknown): void {
    this.#fail(toError(thrown), 'error')
  }

  /** Ends a stream that is no longer permitted. Its client gets the reason. */
  revoke (reason = 'it is no longer permitted'): void {
    if (this.#stream.lifecycle.reason === undefined) this.#fail(new FST_SSE_REVOKED(reason), 'revoked')
  }

  /** Reports an error that the source throws after the end, unless it follows from the end or is a broken upload. */
  failLate (thrown: unknown): void {
    const { record } = this.#stream
    if (!isAbortError(thrown) && Object(record.request.raw.errored) !== thrown) {
      record.logError(thrown, 'sse source failed after its stream was over')
    }
  }

  /** Reports an event that cannot be sent to the source, or drops it, as `onInvalid` decides. */
  rejected (error: Error, event: unknown): void {
    try {
      if (this.choose(error, event) !== 'skip') this.#stream.driver?.rejectEvent(error)
    } catch (thrown) {
      this.#stream.driver?.stop()
      this.fail(thrown)
    }
  }

  /**
   * Returns whether `onInvalid` drops an event that was to follow the end of the source. Else the stream fails: no
   * source is left that could catch the error.
   */
  omitsLast (thrown: unknown, event: unknown): boolean {
    try {
      if (this.choose(toError(thrown), event) === 'skip') return true
      this.fail(thrown)
    } catch (error) {
      this.fail(error)
    }
    return false
  }

  /** Ends the stream of a handler that threw after `reply.sse`. */
  handlerFailed (error: Error): void {
    this.#stream.driver?.stop()
    if (this.#stream.head.committed) this.fail(error)
    else this.giveUp(error)
  }

  /**
   * Drops a value that the handler returned or sent after `reply.sse`, with a warning. A returned error fails the
   * stream.
   */
  handlerReturned (value: unknown): void {
    if (isError(value)) this.handlerFailed(toError(value))
    else if (value !== undefined) this.#warnOfSend('sse payload dropped')
  }

  /**
   * Stops the source of a stream that has no head yet and gets none: another reply is sent, for example after a handler
   * timeout.
   */
  replaced (error?: Error): void {
    const { head, driver, lifecycle, record } = this.#stream
    if (!head.commit()) return
    head.released = true
    driver?.stop()
    if (lifecycle.end('error') && error !== undefined) record.reportError(error)
  }

  /** Stops the source of a stream whose request was answered by `reply.send` meanwhile. */
  replacedBySend (): void {
    this.replaced()
    this.#warnOfSend('sse stream replaced')
  }

  /** Sends an ordinary error response in place of the stream. */
  giveUp (error: Error, reason: CloseReason = 'error'): void {
    const { driver, lifecycle, record, head } = this.#stream
    driver?.stop()
    if (lifecycle.end(reason)) record.reportError(error)
    head.sendError(error)
  }

  #warnOfSend (text: string): void {
    logSafely(this.#stream.reply.log, 'warn', { err: new FST_SSE_SEND_AFTER_SSE() }, text)
  }

  #fail (error: Error, reason: 'error' | 'revoked'): void {
    const { head, writer, record } = this.#stream
    if (!head.committed && writer.isEmpty) return this.giveUp(error, reason)
    if (reason === 'error') record.logError(error, 'sse stream failed')
    this.#stream.end(reason, this.errorFrame(error))
  }

  /** Returns the choice of `onInvalid` for an event that cannot be sent. Throws the error of `onInvalid`. */
  choose (error: Error, event: unknown): 'error' | 'skip' {
    const { options: { onInvalid }, record, reply } = this.#stream
    const choice = typeof onInvalid === 'function'
      ? record.scope.runInAsyncScope(onInvalid, undefined, error, event)
      : onInvalid
    record.watchCallback(choice)
    if (choice === 'skip') logSafely(reply.log, 'warn', { err: error }, 'sse event left out')
    return choice
  }

  /** Returns the frame of the last event of a stream that failed; an empty text if there is none. */
  errorFrame (error: Error): string {
    const { options: { errorEvent }, contract, wire, record, reply: { request, log } } = this.#stream
    try {
      if (errorEvent === null) return ''
      const event = errorEvent === undefined
        ? problemEvent(error, request.id)
        : record.scope.runInAsyncScope(errorEvent, undefined, error, request) ?? null
      if (event === null) return ''
      record.watchCallback(event)
      return (contract.declares(event) ? contract : freeContract).frame(event, wire)
    } catch (err) {
      logSafely(log, 'error', { err }, 'sse error event could not be made')
      return ''
    }
  }
}
