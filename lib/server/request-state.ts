import type { FastifyReply, FastifyRequest } from 'fastify'
import { Lifecycle } from '../lifecycle.ts'
import { signalGetter } from '../stream/fastify-internals.ts'
import type { Stream } from '../stream/stream.ts'
import { requestFactsOf, type RequestFacts } from './request-facts.ts'

// The state of the plugin on a request. Symbols cannot collide with the names of other decorators.
const kFacts = Symbol('fastify-typed-sse.facts')
const kResponse = Symbol('fastify-typed-sse.response')
const kLifecycle = Symbol('fastify-typed-sse.lifecycle')
/** The stream that answers the request. */
export const kStream = Symbol('fastify-typed-sse.stream')
/**
 * `running` while a wrapped handler may still call `reply.sse`; then the stream that it started; null if it started
 * none.
 */
export const kHandler = Symbol('fastify-typed-sse.handler')

/** The fields to decorate requests with. */
export const STATE = [kFacts, kResponse, kLifecycle, kStream, kHandler]

// The fields may be undefined: a scope that is older than the registration has its decorators, but neither these fields
// nor the hooks.
export interface RequestState {
  [kFacts]: RequestFacts | null | undefined
  [kResponse]: FastifyReply['raw'] | null | undefined
  [kLifecycle]: Lifecycle | null | undefined
  [kStream]: Stream | null | undefined
  [kHandler]: 'running' | Stream | null | undefined
}

type OurRequest = FastifyRequest & RequestState

export const stateOf = (request: FastifyRequest): OurRequest => request as OurRequest

/** Reads the parts of a request that its validation may change. `addressed`: whether the client's address is needed. */
export function readRequest (request: FastifyRequest, reply: FastifyReply, addressed: boolean): void {
  const state = stateOf(request)
  state[kFacts] = requestFactsOf(request, addressed)
  setResponse(request, reply.raw)
  if (state[kLifecycle] !== null) lifecycleOf(request)
}

/** Stores the response of a request: `request.signal` needs it, and Fastify's request has no reference to it. */
export function setResponse (request: FastifyRequest, response: FastifyReply['raw']): void {
  stateOf(request)[kResponse] = response
}

/** Returns the facts of a request. For a hook before the plugin's, and in a scope without it, they are read now. */
export function factsOf (request: FastifyRequest): RequestFacts {
  return stateOf(request)[kFacts] ?? requestFactsOf(request, true)
}

export function lifecycleOf (request: FastifyRequest): Lifecycle {
  const state = stateOf(request)
  const lifecycle = (state[kLifecycle] ??= new Lifecycle())
  // Not known yet in a hook that runs before the plugin's.
  const response = state[kResponse] ?? undefined
  if (response !== undefined) lifecycle.watch(response)
  return lifecycle
}

/** Ends the lifecycle of a stream that an error handler replaces with its own stream. */
export function restartLifecycle (request: FastifyRequest): void {
  lifecycleOf(request).closed()
  stateOf(request)[kLifecycle] = null
}

/** The getter of `request.signal`: the plugin's on a route with `schema.sse`, Fastify's on all others. */
export function signal (this: FastifyRequest): AbortSignal {
  const fastifySignal = this.routeOptions.schema?.sse === undefined ? signalGetter(this, signal) : undefined
  return fastifySignal === undefined ? lifecycleOf(this).signal : Reflect.apply(fastifySignal, this, [])
}
