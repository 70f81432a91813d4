import type { FastifyInstance } from 'fastify'
import type { AjvOptions } from './ajv.ts'
import { isSchemaNode } from './json-schema.ts'

/**
 * Returns the options of `Fastify({ ajv })`: formats, keywords and plugins. Fastify keeps its options under a symbol,
 * which this function finds by its description. If a version of Fastify has no such symbol, the result is empty.
 */
export function readAjvOptions (app: FastifyInstance): AjvOptions {
  for (let level: object | null = app; level !== null; level = Object.getPrototypeOf(level) as object | null) {
    const symbol = Object.getOwnPropertySymbols(level).find(({ description }) => description === 'fastify.options')
    if (symbol === undefined) continue
    const { ajv } = (level as Record<symbol, { ajv?: unknown }>)[symbol]!
    // Events have no schemas in JSON Type Definition.
    if (isSchemaNode(ajv) && ajv.mode !== 'JTD') return ajv
  }
  return {}
}
