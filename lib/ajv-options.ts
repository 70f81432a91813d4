import type { FastifyInstance } from 'fastify'
import { isNode } from './json-schema.ts'
import type { AjvOptions } from './schema.ts'

/**
 * What `Fastify({ ajv })` was given: formats, keywords and plugins. Fastify keeps its options under a symbol of its own, found by its description.
 * A Fastify that keeps them no more has no such symbol: then nothing is known.
 */
export function ajvOptionsOf (app: FastifyInstance): AjvOptions {
  for (let level: object | null = app; level !== null; level = Object.getPrototypeOf(level) as object | null) {
    const symbol = Object.getOwnPropertySymbols(level).find(({ description }) => description === 'fastify.options')
    if (symbol === undefined) continue
    const { ajv } = (level as Record<symbol, { ajv?: unknown }>)[symbol]!
    // JSON Type Definition is another language than that of events.
    if (isNode(ajv) && ajv.mode !== 'JTD') return ajv
  }
  return {}
}
