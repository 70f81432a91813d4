import type { FastifyInstance, FastifyReply } from 'fastify'
import { readAjvOptions } from '../schema/ajv-options.ts'
import { compileContract, freeContract, type Contract } from '../contract/contract.ts'
import type { EventMap } from '../contract/event-types.ts'
import { schemaCompiler, type SchemaCompiler } from '../schema/schema.ts'
import type { RouteCounters, Statistics } from '../metrics/statistics.ts'

/** The name, contract and counters that the streams of a route share. */
export interface Route { readonly name: string, contract: Contract, readonly counters: RouteCounters }

interface Declaration { scope: FastifyInstance, map: EventMap, place: string }

/** The routes of one registration: their contracts and counters. Each event map is compiled once per scope. */
export class Routes {
  readonly #scopes = new Map<FastifyInstance,
    { schemas: number, compiler: SchemaCompiler, byMap: WeakMap<EventMap, Contract> }>()

  #declared: Declaration[] = []
  readonly #known = new WeakMap<object, Route>()
  readonly #statistics: Statistics

  constructor (statistics: Statistics) {
    this.#statistics = statistics
  }

  /** Adds an event map to compile when the app is ready: a schema may be added after the route that refers to it. */
  declare (declaration: Declaration): void {
    this.#declared.push(declaration)
  }

  /** Compiles all declared maps. Throws the error of the first map that cannot be used. */
  compile (): void {
    for (const declaration of this.#declared.splice(0)) this.compiled(declaration)
  }

  /**
   * Returns the route of a reply. Routes declared before the plugin are compiled on first use. Throws the error of a
   * map that cannot be used.
   */
  of (reply: FastifyReply): Route {
    const { schema, method, url, config } = reply.request.routeOptions
    const known = this.#known.get(config)
    if (known !== undefined) return known
    const route = this.free(reply)
    if (schema?.sse !== undefined) {
      route.contract = this.compiled({ scope: reply.server, map: schema.sse, place: `${String(method)} ${url}` })
    }
    this.#known.set(config, route)
    return route
  }

  /** Returns the route of a reply without its event map. */
  free ({ request: { method, routeOptions: { url } } }: FastifyReply): Route {
    // HEAD requests the head of the GET response.
    const name = `${method === 'HEAD' ? 'GET' : method} ${url ?? '*'}`
    return { name, contract: freeContract, counters: this.#statistics.route(name) }
  }

  /** Returns the contract of an event map in a scope. */
  compiled ({ scope, map, place }: Declaration): Contract {
    const known = this.#scopes.get(scope)
    const compiled = known?.byMap.get(map)
    if (compiled !== undefined) return compiled
    // Shared schemas are added and never removed. A channel may be made before the last of them.
    const shared = scope.getSchemas()
    const schemas = Object.keys(shared).length
    const current = known?.schemas === schemas
      ? known
      : {
          schemas,
          compiler: schemaCompiler(shared, readAjvOptions(scope)),
          byMap: known?.byMap ?? new WeakMap<EventMap, Contract>()
        }
    this.#scopes.set(scope, current)
    const contract = compileContract(map, place, current.compiler)
    current.byMap.set(map, contract)
    return contract
  }
}
