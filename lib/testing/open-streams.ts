import { FST_SSE_OPTION } from '../errors.ts'
import { registriesOf } from '../server/app-registry.ts'

/** What is still open of an app, such as `GET /orders`: a suite ends with `assert.deepEqual(openStreams(app), [])`. */
export function openStreams (app: { readonly server: object }): string[] {
  const registrations = [...registriesOf(app)]
  // None would be the wrong answer of an app that is asked too early, or is another one.
  if (registrations.length === 0) throw new FST_SSE_OPTION('app', 'a Fastify instance that is ready and has the plugin', 'one without it')
  return registrations.flatMap(streams => streams.names)
}
