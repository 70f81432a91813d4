import { FormatRegistry, Kind, TypeRegistry, type TSchema } from '@sinclair/typebox'
import { TypeCompiler, ValueErrorType, type TypeCheck } from '@sinclair/typebox/compiler'
import { AjvCompiler } from '@fastify/ajv-compiler'
import { SerializerSelector } from '@fastify/fast-json-stringify-compiler'

/** What `app.addSchema` holds, by `$id`. */
export type SharedSchemas = Record<string, unknown>

/** A schema made ready: it checks, says what is wrong, and writes what it declares. */
export interface CompiledSchema {
  check: (value: unknown) => boolean
  /** The first thing wrong with a value that `check` refused. */
  explain: (value: unknown) => { path: string, message: string }
  /** JSON with the declared properties only. */
  serialise: (value: unknown) => string
  /** True where nothing but strings fits. */
  textual: boolean
}

type Node = Record<PropertyKey, unknown>
interface Validator { (value: unknown): boolean, errors?: Array<{ instancePath: string, message?: string }> | null }

// The kind given to what TypeBox cannot check itself: Type.Unsafe, plain JSON Schema, and schemas of
// app.addSchema, which Fastify clones without their TypeBox kinds. Ajv checks those, as in requests.
const JSON_SCHEMA = 'fastify-typed-sse:JsonSchema'
const validators = new WeakMap<object, Validator>()
const registerKind = () => TypeRegistry.Set(JSON_SCHEMA, (schema: object, value: unknown) => validators.get(schema)?.(value) === true)

const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && !Array.isArray(value)

// Where schemas live inside a schema: under each of these keys one, a list, or a map of them.
const ONE = ['items', 'additionalProperties', 'not', 'contains', 'additionalItems', 'unevaluatedProperties']
const LIST = ['anyOf', 'oneOf', 'allOf', 'items']
const MAP = ['properties', 'patternProperties', '$defs', 'definitions']

/** A copy of the schema in which `change` has replaced each sub-schema, the innermost first. */
function mapSchema (schema: Node, change: (node: Node) => Node): Node {
  const copy: Node = { ...schema }
  for (const key of ONE) if (isNode(copy[key])) copy[key] = mapSchema(copy[key], change)
  for (const key of LIST) {
    const list = copy[key]
    if (Array.isArray(list)) copy[key] = list.map(item => isNode(item) ? mapSchema(item, change) : item)
  }
  for (const key of MAP) {
    const map = copy[key]
    if (isNode(map)) copy[key] = Object.fromEntries(Object.entries(map).map(([name, item]) => [name, isNode(item) ? mapSchema(item, change) : item]))
  }
  return change(copy)
}

/** How many properties a schema declares, at any depth. */
function weigh (schema: Node): number {
  let weight = 0
  mapSchema(schema, node => {
    if (isNode(node.properties)) weight += Object.keys(node.properties).length
    return node
  })
  return weight
}

/**
 * The serialiser takes the first branch of a union that fits, and writes what that branch declares.
 * With `{ a } | { a, b }` it would drop `b`: so the branch that declares most comes first.
 */
function richestFirst (node: Node): Node {
  for (const key of ['anyOf', 'oneOf']) {
    const branches = node[key]
    if (Array.isArray(branches)) node[key] = [...branches].sort((a, b) => isNode(a) && isNode(b) ? weigh(b) - weigh(a) : 0)
  }
  return node
}

/** True where every value that fits is a string: such an event goes out as plain text. */
export function isTextual (schema: unknown, shared: SharedSchemas = {}, seen: readonly string[] = []): boolean {
  if (!isNode(schema)) return false
  const every = (list: unknown) => Array.isArray(list) && list.length > 0 && list.every(item => isTextual(item, shared, seen))
  if (schema.type === 'string' || typeof schema.const === 'string' || every(schema.anyOf) || every(schema.oneOf)) return true
  if (Array.isArray(schema.enum)) return schema.enum.length > 0 && schema.enum.every(value => typeof value === 'string')
  if (Array.isArray(schema.allOf)) return schema.allOf.some(item => isTextual(item, shared, seen))
  if (typeof schema.$ref !== 'string' || seen.includes(schema.$ref)) return false
  const defs = isNode(schema.$defs) ? schema.$defs : {}
  return isTextual(defs[schema.$ref] ?? shared[schema.$ref.replace(/#$/, '')], { ...shared, ...defs }, [...seen, schema.$ref])
}

/** Compiles schemas of one scope: `shared` holds what its `app.addSchema` calls added. */
export type SchemaCompiler = (schema: TSchema) => CompiledSchema

/** Compiles schemas of one scope: `shared` holds what its `app.addSchema` calls added. */
export function schemaCompiler (shared: SharedSchemas): SchemaCompiler {
  // Strict, as the contract demands: an event is not a query string, nothing is coerced or filled in.
  const validator = AjvCompiler()(shared as Record<string, object>, { customOptions: { coerceTypes: false, useDefaults: false, removeAdditional: false } })
  const serialiser = SerializerSelector()(shared, {})
  const where = { method: '', url: '' }

  const validate = (schema: unknown): Validator => validator({ ...where, schema, httpPart: 'body' }) as Validator

  function asTypeBox (node: Node): Node {
    if (typeof node.format === 'string') knowFormat(node.format)
    if (typeof node[Kind] === 'string' && node[Kind] !== 'Unsafe') return node
    const { [Kind]: _, ...plain } = node
    const own = { ...plain, [Kind]: JSON_SCHEMA }
    validators.set(own, validate(plain))
    return own
  }

  // TypeBox refuses every string of a format that it does not know. Give it those that Fastify's requests
  // know, unless the program has its own meaning for the name. A name nobody knows throws here, at start-up.
  function knowFormat (format: string): void {
    if (FormatRegistry.Has(format)) return
    const check = validate({ type: 'string', format })
    FormatRegistry.Set(format, value => check(value))
  }

  const references = Object.entries(shared).map(([$id, schema]) => {
    const own = { $id, [Kind]: JSON_SCHEMA }
    validators.set(own, validate(schema))
    return own as unknown as TSchema
  })

  return schema => {
    registerKind()
    const typed = TypeCompiler.Compile(mapSchema({ ...schema }, asTypeBox) as unknown as TSchema, references)
    const serialise = serialiser({ ...where, schema: mapSchema({ ...schema }, richestFirst), httpStatus: '200' }) as (value: unknown) => string
    return {
      check: value => typed.Check(value),
      explain: value => explain(typed, value),
      serialise,
      textual: isTextual(schema, shared)
    }
  }
}

function explain (typed: TypeCheck<TSchema>, value: unknown): { path: string, message: string } {
  const error = typed.Errors(value).First()
  if (error === undefined) return { path: '/', message: 'it does not fit' }
  // Inside what Ajv checks, Ajv knows the place.
  const inner = error.type === ValueErrorType.Kind ? validators.get(error.schema) : undefined
  if (inner !== undefined && !inner(error.value)) {
    const first = inner.errors?.[0]
    return { path: `${error.path}${first?.instancePath ?? ''}` || '/', message: first?.message ?? error.message }
  }
  return { path: error.path || '/', message: error.message }
}
