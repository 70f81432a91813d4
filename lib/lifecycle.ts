import type { ServerResponse } from 'node:http'
import { addToMaxListeners, sharedController } from './listeners.ts'
import { Scope } from './scope.ts'

/** Why a stream ended. */
export type CloseReason = 'client' | 'complete' | 'error' | 'shutdown' | 'stalled' | 'lagging' | 'expired' | 'channel-ended' | 'revoked'

/** What `onClose` is told about a stream that is over. */
export interface CloseReport {
  /** Why it ended. */
  reason: CloseReason
  /** Milliseconds from `reply.sse()` to the end. */
  duration: number
  /** Events taken from the source and put on the wire; comments and heartbeats do not count. */
  events: number
  /** Bytes of body handed to the connection, heartbeats included. */
  bytes: number
  /** The last event id that was sent, or the one that the client came with. */
  lastEventId: string | undefined
}

const MEANING: Record<CloseReason, string> = {
  client: 'the client left',
  complete: 'the source is done',
  error: 'the source failed',
  shutdown: 'the server is closing',
  stalled: 'the client took no byte for too long',
  lagging: 'the client fell behind the history',
  expired: 'it reached its maximum lifetime',
  'channel-ended': 'its channel ended',
  revoked: 'it is no longer permitted'
}

/** The `signal.reason` of a stream that is over. Its name is AbortError, as that of any abort in the platform. */
export class StreamClosedError extends Error {
  override readonly name = 'AbortError'
  readonly code = 'FST_SSE_CLOSED'
  readonly reason: CloseReason

  constructor (reason: CloseReason) {
    super(`The stream is over: ${MEANING[reason]}`)
    this.reason = reason
  }
}

/**
 * What once(response, 'close') does, without the object that it makes: V8 puts those among what lives long when streams do, and there
 * each would hold all of a short request until the next full collection.
 */
export function onceClosed (response: ServerResponse, callback: () => void): void {
  const closed = (): void => {
    response.removeListener('close', closed)
    callback()
  }
  response.on('close', closed)
}

/**
 * Listens to a connection until the response is closed. A response behind a pipelined one has no socket yet, and any
 * number of these may wait on one connection.
 */
export function listenToSocket (response: ServerResponse, event: 'close' | 'end', callback: () => void): void {
  const { req: { socket }, socket: own } = response
  socket.on(event, callback)
  if (own === null) addToMaxListeners(socket, 1)
  onceClosed(response, () => {
    socket.removeListener(event, callback)
    if (own === null) addToMaxListeners(socket, -1)
  })
}

/**
 * The life of one response, from the request to its close: one signal, aborted once, with one reason.
 *
 * Fastify's own `request.signal` follows the request's `close`, which comes as soon as the body of a POST
 * is read, and is silenced by `reply.hijack()`. The response's `close` is the event that means what we need.
 */
export class Lifecycle {
  /** Set once. */
  reason: CloseReason | undefined
  /** What lives on this response, told once when the connection is gone or the response done. */
  stream: { closed: () => void } | undefined
  /** The scope in which the signal's listeners run: the stream's, or that of the first access to the signal. */
  scope: Scope | undefined
  /** What it means when the response ends without our doing: a reply that is no stream is complete, a stream's was an error's. */
  unexpectedReason: CloseReason = 'complete'
  #controller: AbortController | undefined
  #response: ServerResponse | undefined

  /** Created only when somebody asks: most streams never look at it. */
  get signal (): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = sharedController()
      this.scope ??= new Scope()
      if (this.reason !== undefined) this.#controller.abort(new StreamClosedError(this.reason))
    }
    return this.#controller.signal
  }

  /** False when the life was over before. */
  end (reason: CloseReason): boolean {
    if (this.reason !== undefined) return false
    this.reason = reason
    const controller = this.#controller
    if (controller !== undefined) this.scope!.runInAsyncScope(controller.abort, controller, new StreamClosedError(reason))
    return true
  }

  watch (response: ServerResponse): void {
    if (this.#response !== undefined) return
    this.#response = response
    const socket = response.req.socket
    if (response.destroyed || socket.destroyed) {
      this.end('client')
      return
    }
    onceClosed(response, this.closed)
    // Behind a pipelined predecessor the response has no socket yet, and Node never tells it of the connection's end.
    if (response.socket === null) listenToSocket(response, 'close', this.closed)
  }

  readonly closed = (): void => {
    // An HTTP/2 response counts as finished when the peer cancels it, so only our own end() tells.
    this.end(this.#response?.writableEnded === true ? this.unexpectedReason : 'client')
    const { stream } = this
    this.stream = undefined
    stream?.closed()
  }
}
