import { FST_SSE_OPTION } from '../errors.ts'
import { registriesOf } from '../server/app-registry.ts'

/**
 * Returns the open streams of an app, such as `GET /orders`: a suite ends with `assert.deepEqual(openStreams(app),
 * [])`.
 */
export function openStreams (app: { readonly server: object }): string[] {
  const registries = [...registriesOf(app)]
  // An app that is not ready, or has no plugin, must not look like one without streams.
  if (registries.length === 0) {
    throw new FST_SSE_OPTION('app', 'a Fastify instance that is ready and has the plugin', 'one without it')
  }
  return registries.flatMap(streams => streams.names)
}
