import { AsyncResource } from 'node:async_hooks'

/**
 * The async context of its creation: the values of each AsyncLocalStorage, and the active span. A user's function runs
 * in the scope of its own request, also when a shared timer, a publish in another request or a socket calls it.
 */
export class Scope extends AsyncResource {
  constructor () {
    super('fastify-typed-sse')
  }
}

/**
 * The scope of no request, for timers that many streams share: they would otherwise run in the first stream's context,
 * and keep it.
 */
export const shared = new Scope()
