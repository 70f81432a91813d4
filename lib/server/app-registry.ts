import type { StreamRegistry } from '../stream/registry.ts'

// A global symbol: an app and its test may have loaded two copies of this package.
const kRegistries = Symbol.for('fastify-typed-sse.registrations')

/**
 * Returns the stream registries of an app, one for each registration of the plugin. All scopes of an app have the same
 * server.
 */
export function registriesOf (app: { readonly server: object }): Set<StreamRegistry> {
  const server = app.server as { [kRegistries]?: Set<StreamRegistry> }
  return (server[kRegistries] ??= new Set())
}
