import type { FastifyInstance } from 'fastify'
import { isNode } from './json-schema.ts'
import type { AjvOptions } from './schema.ts'

/**
 * The options of `Fastify({ ajv })`: formats, keywords and plugins. Fastify keeps its options under a symbol, found
 * here by its description. A Fastify without such a symbol has no options for this function.
 */
export function ajvOptionsOf (app: FastifyInstance): AjvOptions {
  for (let level: object | null = app; level !== null; level = Object.getPrototypeOf(level) as object | null) {
    const symbol = Object.getOwnPropertySymbols(level).find(({ description }) => description === 'fastify.options')
    if (symbol === undefined) continue
    const { ajv } = (level as Record<symbol, { ajv?: unknown }>)[symbol]!
    // Events have no schemas in JSON Type Definition.
    if (isNode(ajv) && ajv.mode !== 'JTD') return ajv
  }
  return {}
}
