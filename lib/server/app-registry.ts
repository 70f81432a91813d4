import type { StreamRegistry } from '../stream/registry.ts'

// By a global name: an app and its test may have loaded two copies of this package.
const kRegistrations = Symbol.for('fastify-typed-sse.registrations')

/** The streams of every registration of the plugin in one app. Encapsulated or not, all have the same server. */
export function registriesOf (app: { readonly server: object }): Set<StreamRegistry> {
  const server = app.server as { [kRegistrations]?: Set<StreamRegistry> }
  return (server[kRegistrations] ??= new Set())
}
