import { AsyncResource } from 'node:async_hooks'

/**
 * The async context of its creation: the values of each AsyncLocalStorage, and the active span. A function of the user
 * runs in the scope of its own request, also if a shared timer, a publish in another request or a socket calls it.
 */
export class Scope extends AsyncResource {
  constructor () {
    super('fastify-typed-sse')
  }
}

/**
 * The scope of no request, for timers that many streams share. Without it, they would run in the context of the first
 * stream and keep that context alive.
 */
export const sharedScope = new Scope()
