import { FormatRegistry, Kind, KindGuard, TypeRegistry, type TSchema } from '@sinclair/typebox'
import { TypeCompiler, ValueErrorType, type TypeCheck } from '@sinclair/typebox/compiler'
import { AjvCompiler } from '@fastify/ajv-compiler'
import { SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import { partTakerOf, type PartTaker } from './declared-part.ts'
import { describe } from '../errors.ts'
import { fingerprintOf } from './fingerprint.ts'
import { assertJsonForm } from './json-form.ts'
import { isNode, mapSchema, withEveryKey, writable, type Node } from './json-schema.ts'
import { Subschema } from './subschema.ts'
import { isTextSchema, type SharedSchemas } from './text-schema.ts'

/** A compiled schema: it takes the declared part of a value, checks that part, explains a mistake, and writes it. */
export interface CompiledSchema {
  check: (value: unknown) => boolean
  /** The result of `serialise` for a value that passes `check`; undefined for any other. Each property is read once. */
  write: (value: unknown) => string | undefined
  /** The first thing wrong with a value that `check` refused. */
  explain: (value: unknown) => { path: string, message: string }
  /** JSON with the declared properties only. */
  serialise: (value: unknown) => string
  /** True where nothing but strings fits. */
  textual: boolean
  /** The same in all processes with the same schema. */
  fingerprint: string
}

interface Validator { (value: unknown): boolean, errors?: Array<{ instancePath: string, message?: string }> | null }

// The kind given to what TypeBox cannot check itself: Type.Unsafe, plain JSON Schema, and schemas of
// app.addSchema, which Fastify clones without their TypeBox kinds. Ajv checks those, as in requests.
const JSON_SCHEMA = 'fastify-typed-sse:JsonSchema'
const validators = new WeakMap<object, Validator>()
// Formats that this package gives to TypeBox, with their meaning in Fastify's requests.
const lent = new Set<string>()
const registerKind = () => TypeRegistry.Set(JSON_SCHEMA, (schema: object, value: unknown) => hasJson(value) && validators.get(schema)?.(value) === true)

// TypeBox would let any value pass for these, and the serialiser write `undefined` into the JSON.
const ANYTHING = ['Unsafe', 'Any', 'Unknown', 'Not']
const hasJson = (value: unknown): boolean => value !== undefined && typeof value !== 'function' && typeof value !== 'symbol'

/** Makes a schema ready; an unusable one throws. */
export type SchemaCompiler = (schema: TSchema) => CompiledSchema

/** The value of `Fastify({ ajv })`: options of Ajv, and its plugins. */
export type AjvOptions = Omit<Extract<Parameters<BuildValidator>[1], { onCreate?: unknown }>, 'mode'>
type BuildValidator = ReturnType<typeof AjvCompiler>
type Ajv = Parameters<NonNullable<AjvOptions['onCreate']>>[0]

/** Compiles schemas of one scope: `added` holds what its `app.addSchema` calls added. */
export function schemaCompiler (added: SharedSchemas, { customOptions, plugins = [], onCreate }: AjvOptions = {}): SchemaCompiler {
  const shared: SharedSchemas = Object.fromEntries(Object.entries(added).map(([id, schema]) => [id, withEveryKey(schema as Node)]))
  const where = { method: '', url: '' }
  const isOwn = plugins.length > 0 || onCreate !== undefined || Object.keys(customOptions ?? {}).length > 0
  let compile: ReturnType<BuildValidator> | undefined
  let ajv: Ajv | undefined
  const names = new Map(Object.entries(shared).map(([id, schema]) => [schema, id]))

  function validate (schema: unknown): Validator {
    compile ??= AjvCompiler()(shared as Record<string, object>, {
      plugins,
      // Strict: an event is not a query string, so Ajv converts no value and fills in no default.
      customOptions: { ...customOptions, coerceTypes: false, useDefaults: false, removeAdditional: false },
      onCreate: made => {
        ajv = made
        onCreate?.(made)
      }
    })
    return compile({ ...where, schema, httpPart: 'body' }) as Validator
  }

  // TypeBox refuses every string of a format that it does not know. Give it those that Fastify's requests
  // know, unless the program has its own meaning for the name. A name nobody knows throws here, at start-up.
  function knowFormat (format: string): void {
    if (FormatRegistry.Has(format)) return
    const check = validate({ type: 'string', format })
    lent.add(format)
    FormatRegistry.Set(format, value => check(value))
  }

  // Each app has its own formats: Ajv checks a schema with them as a whole.
  const hasOwnFormat = ({ format }: Node): boolean => isOwn && typeof format === 'string' && (!FormatRegistry.Has(format) || lent.has(format))

  /** The schema as TypeBox can check it: what it has no kind for is Ajv's, whole, so that references inside still resolve. */
  function asTypeBox (schema: Node): Node {
    const own = new Set<string>()
    mapSchema(schema, node => {
      if (isNode(node.$defs)) for (const name of Object.keys(node.$defs)) own.add(name)
      return node
    })
    const isShared = (ref: string): boolean => !own.has(ref) && Object.hasOwn(shared, ref.replace(/#$/, ''))
    const isAjvs = (node: Node): boolean => !KindGuard.IsKind(node) || ANYTHING.includes(String(node[Kind])) || hasOwnFormat(node) || (KindGuard.IsRef(node) && isShared(node.$ref))
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

  /** The check of one schema inside another. */
  function fits (branch: Subschema): (value: unknown) => boolean {
    const { node, home, pointer } = branch
    let made: ((value: unknown) => boolean) | undefined
    const make = (): (value: unknown) => boolean => {
      if (!home.plain) {
        const typed = TypeCompiler.Compile(alone(node as Node), [...home.own.values()].map(alone))
        return value => typed.Check(value)
      }
      // A schema without an id of its own gets one by which its parts are found.
      const { root, top } = home
      let name = names.get(top)
      if (name === undefined) {
        name = typeof top.$id === 'string' ? top.$id : `fastify-typed-sse-${names.size}`
        names.set(top, name)
        // Another schema of that id may have been added before.
        if (ajv!.getSchema(name) === undefined) ajv!.addSchema(top, name)
      }
      if (root !== top) name = root.$id as string
      return validate({ $ref: `${name}#${pointer}` })
    }
    // The whole schema was compiled: its parts cannot fail, and many are never used.
    return value => (made ??= make())(value)
  }

  return schema => {
    registerKind()
    const given = withEveryKey({ ...schema })
    const checked = asTypeBox(given)
    const typed = TypeCompiler.Compile(checked as unknown as TSchema)
    const taker = partTakerOf(Subschema.of(checked, { shared, isPlain: node => node[Kind] === JSON_SCHEMA }), fits)
    const json = serialiser(given, shared)
    const passes = (part: unknown): boolean => !taker.missed() && typed.Check(part)
    return {
      check: value => passes(taker.take(value)),
      write: value => {
        const part = taker.take(value)
        if (!passes(part)) return undefined
        const text = json(part)
        if (taker.open) assertJsonForm(part, text)
        return text
      },
      explain: value => explain(typed, taker, value),
      serialise: value => json(taker.take(value)),
      textual: isTextSchema(schema, shared),
      fingerprint: fingerprintOf(schema, shared)
    }
  }
}

/** A schema without the recursive one around it: a reference to that one is looked up among the others. */
function alone (schema: Node): TSchema {
  return mapSchema(schema, node => node[Kind] === 'This' ? { ...node, [Kind]: 'Ref' } : node, node => node[Kind] === JSON_SCHEMA) as unknown as TSchema
}

/** Writes the declared part. */
function serialiser (schema: Node, shared: SharedSchemas): (part: unknown) => string {
  const form = writable(schema, shared)
  // A new selector each time: it forgets shared schemas whose $id it has met in a schema.
  const build = (schema: Node): unknown => SerializerSelector()(form.shared, {})({ method: '', url: '', schema, httpStatus: '200' })
  try {
    return build(form.schema) as (part: unknown) => string
  } catch {
    // fast-json-stringify joins no intersection of formats, and reads no escaped reference. JSON.stringify then writes
    // the declared part.
    return build({}) as (part: unknown) => string
  }
}

function explain (typed: TypeCheck<TSchema>, taker: PartTaker, value: unknown): { path: string, message: string } {
  const part = taker.take(value)
  // A value that fits no branch of a union is reported as a whole.
  const wrong = taker.missed() ? undefined : firstError(typed, present(part))
  return wrong ?? firstError(typed, value) ?? { path: '/', message: 'it does not fit' }
}

/** The value without properties that are undefined, which the checks take for missing. */
function present (value: unknown): unknown {
  if (Array.isArray(value)) return value.map(present)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined)
  return Object.assign(Object.create(null), Object.fromEntries(entries.map(([name, inner]) => [name, present(inner)])))
}

function firstError (typed: TypeCheck<TSchema>, value: unknown): { path: string, message: string } | undefined {
  const error = typed.Errors(value).First()
  if (error === undefined) return undefined
  // Inside what Ajv checks, Ajv knows the place.
  const inner = error.type === ValueErrorType.Kind ? validators.get(error.schema) : undefined
  if (inner === undefined) return { path: error.path || '/', message: error.message }
  if (!hasJson(error.value)) return { path: error.path || '/', message: `JSON has no form for ${describe(error.value)}` }
  inner(error.value)
  const { instancePath, message = error.message } = inner.errors![0]!
  return { path: error.path + instancePath || '/', message }
}
