import { isSchemaNode } from '../schema/json-schema.ts'
import type { SharedSchemas } from '../schema/text-schema.ts'
import type { ResolvedOptions } from '../stream/options.ts'

/** What a route's events depend on beside their map: for those who describe them. */
export interface RouteDeclaration {
  /** What `app.addSchema` holds where the route was declared. */
  shared: () => SharedSchemas
  /** That of the registration which serves the route. */
  errorEvent: ResolvedOptions['errorEvent']
}

// Weak, and not on the route: nobody meets it by accident, and a route that is gone takes it along.
const declared = new WeakMap<object, RouteDeclaration>()

/** Remembers where a route was declared; by its map too, for a route may be copied by others, and then keeps its map. */
export function rememberRoute (route: object, map: unknown, by: RouteDeclaration): void {
  declared.set(route, by)
  // One that is no map is told of when it is compiled.
  if (isSchemaNode(map)) declared.set(map, by)
}

/** Of a route that was declared before the plugin was there, nothing is known. */
export function routeDeclaration (route: object, map: object): RouteDeclaration {
  return declared.get(route) ?? declared.get(map) ?? { shared: () => ({}), errorEvent: undefined }
}
