import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { addToMaxListeners, sharedController } from './listeners.ts'
import { Scope } from './scope.ts'

/**
 * Why a stream ended.
 * - `client`: the client disconnected.
 * - `complete`: the source ended.
 * - `error`: the source, or the code that writes its events, threw an error.
 * - `shutdown`: `app.close()` or `app.sse.drain()` was called.
 * - `stalled`: the client read no bytes for `stallTimeout` while bytes waited.
 * - `lagging`: the client fell behind the history of its channel.
 * - `expired`: the stream reached its `maxLifetime`.
 * - `channel-ended`: the channel ended.
 * - `revoked`: `reauthorize` returned false, or `disconnect()` was called.
 */
export type CloseReason = 'client' | 'complete' | 'error' | 'shutdown' | 'stalled' | 'lagging' | 'expired'
  | 'channel-ended' | 'revoked'

/** The argument of `onOpen`. */
export interface OpenReport {
  /** The id from the request. */
  lastEventId: string | undefined
}

/** The argument of `onClose`, once for every stream. */
export interface CloseReport {
  /** Why the stream ended. */
  reason: CloseReason
  /** Milliseconds from `reply.sse()` to the close of the response. */
  duration: number
  /** Events that were written; comments and heartbeats do not count. */
  events: number
  /** Body bytes that were written to the connection, heartbeats included. */
  bytes: number
  /** The last event id that was sent, else the id from the request. */
  lastEventId: string | undefined
  /** The `sse.reset` and `sse.gap` events that the option `systemEvent` left out. */
  omittedSystemEvents: number
}

const MEANING: Record<CloseReason, string> = {
  client: 'the client disconnected',
  complete: 'the source ended',
  error: 'the source failed',
  shutdown: 'the server is closing',
  stalled: 'the client read no bytes for too long',
  lagging: 'the client fell behind the history of its channel',
  expired: 'it reached its maximum lifetime',
  'channel-ended': 'its channel ended',
  revoked: 'it is no longer permitted'
}

/**
 * The `signal.reason` of a closed stream. Its name is AbortError, as for every abort of the platform. It has no stack
 * frames: all would be of this package, and to collect them would cost more than the rest of the abort.
 */
export class StreamClosedError extends Error {
  override readonly name = 'AbortError'
  readonly code = 'FST_SSE_CLOSED'
  readonly reason: CloseReason

  constructor (reason: CloseReason) {
    const { stackTraceLimit } = Error
    // Never throws, also where the errors of the platform are frozen.
    Reflect.set(Error, 'stackTraceLimit', 0)
    super(`The stream is closed: ${MEANING[reason]}`)
    Reflect.set(Error, 'stackTraceLimit', stackTraceLimit)
    this.reason = reason
  }
}

/**
 * Calls the callback once when the response closes. `response.once` would allocate a wrapper: beside long streams V8
 * moves such wrappers to the old generation, where each one would keep all of a short request alive until the next full
 * garbage collection.
 */
export function onceClosed (response: ServerResponse, callback: () => void): void {
  const closed = (): void => {
    response.removeListener('close', closed)
    callback()
  }
  response.on('close', closed)
}

/**
 * Listens to an event of the connection until the response closes. A response behind a pipelined one has no socket yet,
 * and any number of such responses may wait for one connection.
 */
export function listenToSocket (response: ServerResponse, event: 'close' | 'end', callback: () => void): void {
  const { req: { socket }, socket: assigned } = response
  socket.on(event, callback)
  if (assigned === null) addToMaxListeners(socket, 1)
  onceClosed(response, () => {
    socket.removeListener(event, callback)
    if (assigned === null) addToMaxListeners(socket, -1)
  })
}

// The listeners of every stream are shared functions, which find their stream by these fields: closures of its own
// would be a tenth of the memory of an idle stream.
const kLifecycle = Symbol('fastify-typed-sse.lifecycle')
const kSocket = Symbol('fastify-typed-sse.socket')
const kResponse = Symbol('fastify-typed-sse.response')
/** `kLifecycle`: null for a response that is watched without one. `kSocket`: the connection with its listener. */
type WatchedResponse = ServerResponse & { [kLifecycle]?: Lifecycle | null, [kSocket]?: WatchedSocket }
/** `kResponse`: the response that the connection carries now. */
type WatchedSocket = Socket & { [kResponse]?: WatchedResponse | undefined }

function onClose (this: WatchedResponse): void {
  this.removeListener('close', onClose)
  const socket = this[kSocket]
  socket?.removeListener('end', onHalfClose)
  if (socket?.[kResponse] === this) socket[kResponse] = undefined
  this[kLifecycle]?.closed()
}

function onHalfClose (this: WatchedSocket): void { destroyUnlessEnded(this[kResponse]) }

function destroyUnlessEnded (response: ServerResponse | undefined): void {
  if (response?.writableEnded === false) response.destroy()
}

/** Sets the lifecycle that ends with the response, and listens to the response once. */
function watchClose (response: WatchedResponse, lifecycle: Lifecycle | null): void {
  if (response[kLifecycle] === undefined) response.on('close', onClose)
  response[kLifecycle] = lifecycle ?? response[kLifecycle] ?? null
}

/** Destroys a response over HTTP/1 that has not ended when the client half-closes the connection. */
export function watchHalfClose (response: WatchedResponse): void {
  const socket: WatchedSocket | null = response.socket
  // A response behind a pipelined one.
  if (socket === null) return listenToSocket(response, 'end', () => destroyUnlessEnded(response))
  response[kSocket] = socket
  socket[kResponse] = response
  socket.on('end', onHalfClose)
  watchClose(response, null)
}

/**
 * The lifecycle of one response, from the request to the close: one signal, which aborts once, with one reason.
 *
 * Fastify's own `request.signal` depends on the `close` event of the request. That event fires as soon as the body of a
 * POST is read, and `reply.hijack()` disables the signal. The `close` event of the response marks the real end.
 */
export class Lifecycle {
  /** Why the response ended. Set once. */
  reason: CloseReason | undefined
  /** The stream on this response. `closed` is called once, when the response or its connection closes. */
  stream: { closed: () => void } | undefined
  /** The scope of the signal's listeners: of the stream, else of the first access to the signal. */
  scope: Scope | undefined
  /** The reason if other code ends the response: `complete` for an ordinary reply, `error` for a stream. */
  unexpectedReason: CloseReason = 'complete'
  #controller: AbortController | undefined
  #response: ServerResponse | undefined

  /** Created on first access: most streams never use it. */
  get signal (): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = sharedController()
      this.scope ??= new Scope()
      if (this.reason !== undefined) this.#controller.abort(new StreamClosedError(this.reason))
    }
    return this.#controller.signal
  }

  /** Aborts the signal with the reason. Returns false if the response had already ended. */
  end (reason: CloseReason): boolean {
    if (this.reason !== undefined) return false
    this.reason = reason
    const controller = this.#controller
    if (controller !== undefined) {
      this.scope!.runInAsyncScope(controller.abort, controller, new StreamClosedError(reason))
    }
    return true
  }

  /** Ends this lifecycle when the response, or its connection, closes. */
  watch (response: ServerResponse): void {
    if (this.#response !== undefined) return
    this.#response = response
    const socket = response.req.socket
    if (response.destroyed || socket.destroyed) {
      this.end('client')
      return
    }
    watchClose(response, this)
    // A response behind a pipelined one has no socket yet, and Node emits no 'close' on it when the connection ends.
    if (response.socket === null) listenToSocket(response, 'close', () => this.closed())
  }

  /** Handles the close of the response. The reason is `client`, unless the server ended it. */
  closed (): void {
    // An HTTP/2 response counts as finished when the peer cancels it, so only `writableEnded` shows a regular end.
    this.end(this.#response?.writableEnded === true ? this.unexpectedReason : 'client')
    const { stream } = this
    this.stream = undefined
    stream?.closed()
  }
}
