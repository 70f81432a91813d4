import { FormatRegistry, Kind, KindGuard, TypeRegistry, type TSchema } from '@sinclair/typebox'
import { TypeCompiler, ValueErrorType, type TypeCheck } from '@sinclair/typebox/compiler'
import { AjvCompiler } from '@fastify/ajv-compiler'
import { SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import { shown } from './errors.ts'
import { fingerprintOf } from './fingerprint.ts'
import { isNode, mapSchema, withEveryKey, writable, type Node } from './json-schema.ts'
import { isTextual, type SharedSchemas } from './textual.ts'

/** A schema made ready: it checks, says what is wrong, and writes what it declares. */
export interface CompiledSchema {
  check: (value: unknown) => boolean
  /** The first thing wrong with a value that `check` refused. */
  explain: (value: unknown) => { path: string, message: string }
  /** JSON with the declared properties only. */
  serialise: (value: unknown) => string
  /** True where nothing but strings fits. */
  textual: boolean
  /** Equal where another process checks and writes by the same schema. */
  fingerprint: string
}

interface Validator { (value: unknown): boolean, errors?: Array<{ instancePath: string, message?: string }> | null }

// The kind given to what TypeBox cannot check itself: Type.Unsafe, plain JSON Schema, and schemas of
// app.addSchema, which Fastify clones without their TypeBox kinds. Ajv checks those, as in requests.
const JSON_SCHEMA = 'fastify-typed-sse:JsonSchema'
const validators = new WeakMap<object, Validator>()
const registerKind = () => TypeRegistry.Set(JSON_SCHEMA, (schema: object, value: unknown) => hasJson(value) && validators.get(schema)?.(value) === true)

// TypeBox would let any value pass for these, and the serialiser write `undefined` into the JSON.
const ANYTHING = ['Unsafe', 'Any', 'Unknown', 'Not']
const hasJson = (value: unknown): boolean => value !== undefined && typeof value !== 'function' && typeof value !== 'symbol'

/** Makes a schema ready; an unusable one throws. */
export type SchemaCompiler = (schema: TSchema) => CompiledSchema

/** Compiles schemas of one scope: `added` holds what its `app.addSchema` calls added. */
export function schemaCompiler (added: SharedSchemas): SchemaCompiler {
  const shared: SharedSchemas = Object.fromEntries(Object.entries(added).map(([id, schema]) => [id, withEveryKey(schema as Node)]))
  const where = { method: '', url: '' }
  let ajv: ReturnType<ReturnType<typeof AjvCompiler>> | undefined

  function validate (schema: unknown): Validator {
    // Strict, as the contract demands: an event is not a query string, nothing is coerced or filled in.
    ajv ??= AjvCompiler()(shared as Record<string, object>, { customOptions: { coerceTypes: false, useDefaults: false, removeAdditional: false } })
    return ajv({ ...where, schema, httpPart: 'body' }) as Validator
  }

  // TypeBox refuses every string of a format that it does not know. Give it those that Fastify's requests
  // know, unless the program has its own meaning for the name. A name nobody knows throws here, at start-up.
  function knowFormat (format: string): void {
    if (FormatRegistry.Has(format)) return
    const check = validate({ type: 'string', format })
    FormatRegistry.Set(format, value => check(value))
  }

  /** The schema as TypeBox can check it: what it has no kind for is Ajv's, whole, so that references inside still resolve. */
  function asTypeBox (schema: Node): Node {
    const own = new Set<string>()
    mapSchema(schema, node => {
      if (isNode(node.$defs)) for (const name of Object.keys(node.$defs)) own.add(name)
      return node
    })
    const isShared = (ref: string): boolean => !own.has(ref) && Object.hasOwn(shared, ref.replace(/#$/, ''))
    const isAjvs = (node: Node): boolean => !KindGuard.IsKind(node) || ANYTHING.includes(String(node[Kind])) || (KindGuard.IsRef(node) && isShared(node.$ref))
    return mapSchema(schema, node => {
      if (!isAjvs(node)) {
        if (typeof node.format === 'string') knowFormat(node.format)
        return node
      }
      const { [Kind]: _, ...plain } = node
      const given = { ...plain, [Kind]: JSON_SCHEMA }
      validators.set(given, validate(plain))
      return given
    }, isAjvs)
  }

  return schema => {
    registerKind()
    const given = withEveryKey({ ...schema })
    const typed = TypeCompiler.Compile(asTypeBox(given) as unknown as TSchema)
    const write = writable(given, shared)
    // A selector of its own: it forgets shared schemas whose $id it has met in a schema.
    const serialise = SerializerSelector()(write.shared, {})({ ...where, schema: write.schema, httpStatus: '200' }) as (value: unknown) => string
    return {
      check: value => typed.Check(value),
      explain: value => explain(typed, value),
      serialise,
      textual: isTextual(schema, shared),
      fingerprint: fingerprintOf(schema, shared)
    }
  }
}

function explain (typed: TypeCheck<TSchema>, value: unknown): { path: string, message: string } {
  const error = typed.Errors(value).First()
  if (error === undefined) return { path: '/', message: 'it does not fit' }
  // Inside what Ajv checks, Ajv knows the place.
  const inner = error.type === ValueErrorType.Kind ? validators.get(error.schema) : undefined
  if (inner === undefined) return { path: error.path || '/', message: error.message }
  if (!hasJson(error.value)) return { path: error.path || '/', message: `JSON has no form for ${shown(error.value)}` }
  inner(error.value)
  const { instancePath, message = error.message } = inner.errors![0]!
  return { path: error.path + instancePath || '/', message }
}
