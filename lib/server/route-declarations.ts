import { isSchemaNode } from '../schema/json-schema.ts'
import type { SharedSchemas } from '../schema/text-schema.ts'
import { DEFAULTS, type ResolvedOptions } from '../stream/options.ts'

/** The context of a route's event map, for the description of its events. */
export interface RouteDeclaration {
  /** Returns the schemas of `app.addSchema` in the scope of the route. */
  shared: () => SharedSchemas
  /** Options of the registration that serves the route. */
  errorEvent: ResolvedOptions['errorEvent']
  systemEvent: ResolvedOptions['systemEvent']
  formats: ResolvedOptions['formats']
}

// Weak maps: a route that is collected frees its declaration, and no other code sees it on the route.
const declarations = new WeakMap<object, RouteDeclaration>()

/**
 * Remembers the declaration of a route by the route and by its map: another plugin may copy the route, and the copy
 * keeps the map.
 */
export function rememberRoute (route: object, map: unknown, declaration: RouteDeclaration): void {
  declarations.set(route, declaration)
  // An invalid map is reported later, by the compiler.
  if (isSchemaNode(map)) declarations.set(map, declaration)
}

/** Returns the declaration of a route. It is empty for a route that was declared before the plugin was registered. */
export function routeDeclaration (route: object, map: object): RouteDeclaration {
  return declarations.get(route) ?? declarations.get(map) ??
    { shared: () => ({}), errorEvent: undefined, systemEvent: undefined, formats: DEFAULTS.formats }
}
