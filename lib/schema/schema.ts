import { FormatRegistry, Kind, KindGuard, TypeRegistry, type TSchema } from '@sinclair/typebox'
import { TypeCompiler, ValueErrorType, type TypeCheck } from '@sinclair/typebox/compiler'
import { AjvCompiler } from '@fastify/ajv-compiler'
import { SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import { compileExtractor, type PartExtractor } from './declared-part.ts'
import { describe } from '../errors.ts'
import { fingerprintSchema } from './fingerprint.ts'
import { assertJsonForm } from './json-form.ts'
import { isSchemaNode, mapSchema, withEveryKey, toWriterSchema, type SchemaNode } from './json-schema.ts'
import { Subschema } from './subschema.ts'
import { isTextSchema, type SharedSchemas } from './text-schema.ts'

/**
 * A compiled schema: extracts the declared part of a value, checks that part, explains a mismatch, and serializes it.
 */
export interface CompiledSchema {
  check: (value: unknown) => boolean
  /** Returns the result of `serialize` for a value that passes `check`, else undefined. Reads each property once. */
  serializeChecked: (value: unknown) => string | undefined
  /** Returns the first mismatch of a value that failed `check`. */
  explain: (value: unknown) => { path: string, message: string }
  /** Returns JSON with only the declared properties. */
  serialize: (value: unknown) => string
  /** Whether the schema admits only strings. */
  textual: boolean
  /** Names the schema; equal in all processes with the same schema. */
  fingerprint: string
}

type Check = (value: unknown) => boolean

interface Validator { (value: unknown): boolean, errors?: Array<{ instancePath: string, message?: string }> | null }

// The TypeBox kind of schemas that TypeBox cannot check: Type.Unsafe, plain JSON Schema, and schemas of app.addSchema,
// which Fastify clones without their TypeBox kinds. Ajv checks them, as in requests.
const JSON_SCHEMA = 'fastify-typed-sse:JsonSchema'
const validators = new WeakMap<object, Validator>()
// Formats that this package registered in TypeBox, with their meaning in Fastify's requests.
const registeredFormats = new Set<string>()
const registerKind = () =>
  TypeRegistry.Set(JSON_SCHEMA, (schema: object, value: unknown) =>
    hasJson(value) && validators.get(schema)?.(value) === true)

// TypeBox would accept any value for these, and the serializer would write `undefined` into the JSON.
const UNCHECKED_KINDS = ['Unsafe', 'Any', 'Unknown', 'Not']
const hasJson = (value: unknown): boolean =>
  value !== undefined && typeof value !== 'function' && typeof value !== 'symbol'

/** Compiles a schema. Throws for a schema that cannot be used. */
export type SchemaCompiler = (schema: TSchema) => CompiledSchema

/** The value of `Fastify({ ajv })`: options and plugins of Ajv. */
export type AjvOptions = Omit<Extract<Parameters<BuildValidator>[1], { onCreate?: unknown }>, 'mode'>
type BuildValidator = ReturnType<typeof AjvCompiler>
type Ajv = Parameters<NonNullable<AjvOptions['onCreate']>>[0]

/** Returns the compiler of one Fastify scope. `added`: the schemas of its `app.addSchema` calls, by `$id`. */
export function schemaCompiler (
  added: SharedSchemas,
  { customOptions, plugins = [], onCreate }: AjvOptions = {}
): SchemaCompiler {
  const shared: SharedSchemas = Object.fromEntries(
    Object.entries(added).map(([id, schema]) => [id, withEveryKey(schema as SchemaNode)])
  )
  const route = { method: '', url: '' }
  const hasAjvOptions = plugins.length > 0 || onCreate !== undefined || Object.keys(customOptions ?? {}).length > 0
  let compile: ReturnType<BuildValidator> | undefined
  let ajv: Ajv | undefined
  const ajvNames = new Map(Object.entries(shared).map(([id, schema]) => [schema, id]))

  function validate (schema: unknown): Validator {
    compile ??= AjvCompiler()(shared as Record<string, object>, {
      plugins,
      // Strict: an event is not a query string, so Ajv converts no value and fills in no default.
      customOptions: { ...customOptions, coerceTypes: false, useDefaults: false, removeAdditional: false },
      onCreate: instance => {
        ajv = instance
        onCreate?.(instance)
      }
    })
    return compile({ ...route, schema, httpPart: 'body' }) as Validator
  }

  // TypeBox rejects every string of an unregistered format. This registers the formats of Fastify's requests, unless
  // the program has registered the name itself. An unknown name throws here, at start-up.
  function registerFormat (format: string): void {
    if (FormatRegistry.Has(format)) return
    const check = validate({ type: 'string', format })
    registeredFormats.add(format)
    FormatRegistry.Set(format, value => check(value))
  }

  // TypeBox's registry is global, but each app has its own formats: Ajv checks a whole schema with such a format.
  const hasOwnFormat = ({ format }: SchemaNode): boolean =>
    hasAjvOptions && typeof format === 'string' && (!FormatRegistry.Has(format) || registeredFormats.has(format))

  /**
   * Returns the schema in the form that TypeBox can check. Ajv checks each schema without a TypeBox kind as a whole, so
   * that the references inside it resolve.
   */
  function toTypeBox (schema: SchemaNode): SchemaNode {
    const definitions = new Set<string>()
    mapSchema(schema, node => {
      if (isSchemaNode(node.$defs)) for (const name of Object.keys(node.$defs)) definitions.add(name)
      return node
    })
    const isShared = (ref: string): boolean => !definitions.has(ref) && Object.hasOwn(shared, ref.replace(/#$/, ''))
    const needsAjv = (node: SchemaNode): boolean =>
      !KindGuard.IsKind(node) || UNCHECKED_KINDS.includes(String(node[Kind])) || hasOwnFormat(node) ||
      (KindGuard.IsRef(node) && isShared(node.$ref))
    return mapSchema(schema, node => {
      if (!needsAjv(node)) {
        if (typeof node.format === 'string') registerFormat(node.format)
        return node
      }
      const { [Kind]: _, ...plain } = node
      const replacement = { ...plain, [Kind]: JSON_SCHEMA }
      validators.set(replacement, validate(plain))
      return replacement
    }, needsAjv)
  }

  /** Compiles the check of one subschema, at its first use. */
  function compileBranch (branch: Subschema): Check {
    const { node, resource, pointer } = branch
    let check: Check | undefined
    const make = (): Check => {
      if (!resource.checkedByAjv) {
        const typed = TypeCompiler.Compile(standalone(node as SchemaNode), [...resource.named.values()].map(standalone))
        return value => typed.Check(value)
      }
      // A schema without an `$id` gets one, so that Ajv can refer to its parts.
      const { root, outermost } = resource
      let name = ajvNames.get(outermost)
      if (name === undefined) {
        name = typeof outermost.$id === 'string' ? outermost.$id : `fastify-typed-sse-${ajvNames.size}`
        ajvNames.set(outermost, name)
        // Another schema with that id may have been added before.
        if (ajv!.getSchema(name) === undefined) ajv!.addSchema(outermost, name)
      }
      if (root !== outermost) name = root.$id as string
      return validate({ $ref: `${name}#${pointer}` })
    }
    // The whole schema compiled, so its parts compile too. Many of them are never used.
    return value => (check ??= make())(value)
  }

  return schema => {
    registerKind()
    const source = withEveryKey({ ...schema })
    const checked = toTypeBox(source)
    const typed = TypeCompiler.Compile(checked as unknown as TSchema)
    const extractor = compileExtractor(
      Subschema.fromRoot(checked, { shared, isAjvSchema: node => node[Kind] === JSON_SCHEMA }),
      compileBranch
    )
    const serialize = compileSerializer(source, shared)
    const passes = (part: unknown): boolean => !extractor.hasMismatch() && typed.Check(part)
    return {
      check: value => passes(extractor.extract(value)),
      serializeChecked: value => {
        const part = extractor.extract(value)
        if (!passes(part)) return undefined
        const text = serialize(part)
        if (extractor.passesAnyValue) assertJsonForm(part, text)
        return text
      },
      explain: value => explain(typed, extractor, value),
      serialize: value => serialize(extractor.extract(value)),
      textual: isTextSchema(schema, shared),
      fingerprint: fingerprintSchema(schema, shared)
    }
  }
}

/** Returns the schema with each `This` as a `Ref`: TypeBox then finds the recursive schema among the references. */
function standalone (schema: SchemaNode): TSchema {
  return mapSchema(schema, node => node[Kind] === 'This' ? { ...node, [Kind]: 'Ref' } : node,
    node => node[Kind] === JSON_SCHEMA) as unknown as TSchema
}

/** Compiles the function that writes the declared part of a value as JSON. */
function compileSerializer (schema: SchemaNode, shared: SharedSchemas): (part: unknown) => string {
  const writer = toWriterSchema(schema, shared)
  // A new selector each time: a selector drops a shared schema whose $id it has found in another schema.
  const build = (schema: SchemaNode): unknown =>
    SerializerSelector()(writer.shared, {})({ method: '', url: '', schema, httpStatus: '200' })
  try {
    return build(writer.schema) as (part: unknown) => string
  } catch {
    // fast-json-stringify cannot join an intersection of formats, or resolve an escaped reference. JSON.stringify then
    // writes the declared part.
    return build({}) as (part: unknown) => string
  }
}

function explain (
  typed: TypeCheck<TSchema>,
  extractor: PartExtractor,
  value: unknown
): { path: string, message: string } {
  const part = extractor.extract(value)
  // If no branch of a union matches, then the error is reported for the whole value.
  const mismatch = extractor.hasMismatch() ? undefined : firstError(typed, withoutUndefined(part))
  return mismatch ?? firstError(typed, value) ?? { path: '/', message: 'does not match the schema' }
}

/** Returns the value without undefined properties: the checks treat them as missing. */
function withoutUndefined (value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined)
  return Object.assign(Object.create(null),
    Object.fromEntries(entries.map(([name, inner]) => [name, withoutUndefined(inner)])))
}

function firstError (typed: TypeCheck<TSchema>, value: unknown): { path: string, message: string } | undefined {
  const error = typed.Errors(value).First()
  if (error === undefined) return undefined
  // Ajv knows the place of a mismatch in a schema that it checks.
  const inner = error.type === ValueErrorType.Kind ? validators.get(error.schema) : undefined
  if (inner === undefined) return { path: error.path || '/', message: error.message }
  if (!hasJson(error.value)) {
    return { path: error.path || '/', message: `JSON has no form for ${describe(error.value)}` }
  }
  inner(error.value)
  const { instancePath, message = error.message } = inner.errors![0]!
  return { path: error.path + instancePath || '/', message }
}
