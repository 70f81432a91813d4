import { AsyncResource } from 'node:async_hooks'

/**
 * The async context in which it is made: what an AsyncLocalStorage holds there, and which span is active. A user's function runs in that of
 * its own request, whatever calls it: a timer of many streams, a publish in another request, a socket.
 */
export class Scope extends AsyncResource {
  constructor () {
    super('fastify-typed-sse')
  }
}

/** The scope of no request, for what many streams share: a timer would hold what the first of them holds, and run in it. */
export const shared = new Scope()
