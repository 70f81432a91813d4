import type { FastifyInstance, FastifyReply } from 'fastify'
import { readAjvOptions } from '../schema/ajv-options.ts'
import { compileContract, freeContract, type Contract } from '../contract/contract.ts'
import type { EventMap } from '../contract/event-types.ts'
import { schemaCompiler, type SchemaCompiler } from '../schema/schema.ts'
import type { RouteCounters, Statistics } from '../metrics/statistics.ts'

/** A route as its streams know it. */
export interface Route { readonly name: string, contract: Contract, readonly counters: RouteCounters }

interface Declaration { scope: FastifyInstance, map: EventMap, place: string }

/** The routes of one registration: their contracts, each event map compiled once per scope, and what is counted of them. */
export class Routes {
  readonly #scopes = new Map<FastifyInstance, { schemas: number, compiler: SchemaCompiler, byMap: WeakMap<EventMap, Contract> }>()
  #declared: Declaration[] = []
  readonly #known = new WeakMap<object, Route>()
  readonly #statistics: Statistics

  constructor (statistics: Statistics) {
    this.#statistics = statistics
  }

  /** To be compiled when everything is registered: a schema may come after the route that refers to it. */
  declare (declaration: Declaration): void {
    this.#declared.push(declaration)
  }

  /** Throws what is wrong with the first map that cannot be used. */
  compile (): void {
    for (const declaration of this.#declared.splice(0)) this.compiled(declaration)
  }

  /** That of a reply; one that was declared before the plugin was loaded is compiled now. Throws what is wrong with its map. */
  of (reply: FastifyReply): Route {
    const { schema, method, url, config } = reply.request.routeOptions
    const known = this.#known.get(config)
    if (known !== undefined) return known
    const route = this.free(reply)
    if (schema?.sse !== undefined) route.contract = this.compiled({ scope: reply.server, map: schema.sse, place: `${String(method)} ${url}` })
    this.#known.set(config, route)
    return route
  }

  /** The same without its map. */
  free ({ request: { method, routeOptions: { url } } }: FastifyReply): Route {
    // HEAD asks for the head of what GET gives.
    const name = `${method === 'HEAD' ? 'GET' : method} ${url ?? '*'}`
    return { name, contract: freeContract, counters: this.#statistics.route(name) }
  }

  compiled ({ scope, map, place }: Declaration): Contract {
    const known = this.#scopes.get(scope)
    const made = known?.byMap.get(map)
    if (made !== undefined) return made
    // Shared schemas are only ever added: a channel may be made before the last of them.
    const shared = scope.getSchemas()
    const schemas = Object.keys(shared).length
    const current = known?.schemas === schemas ? known : { schemas, compiler: schemaCompiler(shared, readAjvOptions(scope)), byMap: known?.byMap ?? new WeakMap<EventMap, Contract>() }
    this.#scopes.set(scope, current)
    const contract = compileContract(map, place, current.compiler)
    current.byMap.set(map, contract)
    return contract
  }
}
