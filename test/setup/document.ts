import swagger, { type FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import { Validator } from '@seriousme/openapi-schema-validator'
import addFormats from 'ajv-formats'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import sse from '../../lib/index.ts'
import type { RegisterOptions } from '../../lib/index.ts'
import { sseTransform } from '../../lib/openapi.ts'

interface Inner { [key: string]: Inner }
export type Json = Record<string, Inner>

/** A server, and its OpenAPI document. `version` is the version of OpenAPI, or undefined for Swagger 2. */
export async function served (
  t: Test,
  version: string | undefined,
  routes: (app: FastifyInstance) => unknown,
  options: FastifyDynamicSwaggerOptions = {},
  own: RegisterOptions = {}
): Promise<{ app: FastifyInstance, document: Json }> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse, own)
  const info = { title: 'Test', version: '1' }
  await app.register(swagger, {
    ...(version === undefined ? { swagger: { info } } : { openapi: { openapi: version, info } }),
    transform: sseTransform,
    ...options
  })
  await routes(app)
  await app.ready()
  return { app, document: JSON.parse(JSON.stringify(app.swagger())) as Json }
}

/** Returns the violations of the schema of its version, and the unresolved references. */
export async function faultsOf (document: Json): Promise<unknown[]> {
  const { valid, errors } = await new Validator().validate(structuredClone(document))
  const lost = refsOf(document).filter(ref => pointed(document, ref) === undefined)
  return valid ? lost : [errors, ...lost]
}

function refsOf (value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) =>
    key === '$ref' && typeof inner === 'string' ? [inner] : refsOf(inner)
  )
}

/** Resolves a reference within a document. Returns undefined if there is no target. */
export function pointed (document: Json, ref: string): unknown {
  const keys = ref.slice(2).split('/').map(key => decodeURIComponent(key).replaceAll('~1', '/').replaceAll('~0', '~'))
  return keys.reduce<unknown>((value, key) => (value as Json | undefined)?.[key], document)
}

/** Resolves references until there is none. */
export function resolved (document: Json, schema: Json): Json {
  return typeof schema.$ref === 'string' ? resolved(document, pointed(document, schema.$ref) as Json) : schema
}

/** Validates events by the document, including the JSON in their data. */
export function readerOf (document: Json, item: Json): ValidateFunction {
  const ajv = new Ajv2020({ strict: false, allErrors: false })
  addFormats.default(ajv)
  // To JSON Schema `contentSchema` is an annotation, which an application may use. This one does.
  ajv.removeKeyword('contentSchema')
  ajv.addKeyword({
    keyword: 'contentSchema',
    compile: (schema: object) => (data: string) => {
      let value: unknown
      try {
        value = JSON.parse(data)
      } catch {
        return false
      }
      return ajv.compile(schema)(value)
    }
  })
  const absolute = (value: unknown): object =>
    JSON.parse(JSON.stringify(value).replaceAll('"$ref":"#', '"$ref":"document#')) as object
  ajv.addSchema(absolute(document), 'document')
  return ajv.compile(absolute(item))
}

/** Returns the events in a body, as a client parses them. */
export function eventsIn (body: string): Json[] {
  const events: EventSourceMessage[] = []
  const retries: number[] = []
  const parser = createParser({ onEvent: event => events.push(event), onRetry: retry => retries.push(retry) })
  parser.feed(body)
  // Absent fields are omitted.
  return events.map(event => JSON.parse(JSON.stringify(event)) as Json)
}
