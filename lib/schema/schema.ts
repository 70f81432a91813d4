import { SerializerSelector } from '@fastify/fast-json-stringify-compiler'
import { AjvChecker, isAjvSchema, type AjvOptions } from './ajv.ts'
import type { Checker, DataChecker, Mismatch } from './checker.ts'
import { compileExtractor } from './declared-part.ts'
import { describe } from '../errors.ts'
import { fingerprintSchema } from './fingerprint.ts'
import { assertJsonForm, isJson } from './json-form.ts'
import { isSchemaNode, mapSchema, withEveryKey, toWriterSchema, type SchemaNode } from './json-schema.ts'
import { typeBoxes } from './packages.ts'
import { sinclairChecker } from './sinclair-typebox.ts'
import { standardChecker } from './standard.ts'
import { Subschema } from './subschema.ts'
import { isTextSchema, type SharedSchemas } from './text-schema.ts'
import { splitTexts } from './texts.ts'
import { typeboxChecker } from './typebox.ts'
import { isStandardSchema, jsonSchemaOf, vendorName, vendorOf, type StandardSchema } from './vendor.ts'

/** A compiled schema: checks the declared part of a value, explains a mismatch, and writes that part. */
export interface CompiledSchema {
  /**
   * Returns the text of data: JSON with only the declared properties, or the string itself if the schema is textual.
   * Returns undefined for a value that does not match. Reads each property once.
   */
  write: (value: unknown) => string | undefined
  /** Returns the first mismatch of a value that does not match. */
  explain: (value: unknown) => Mismatch
  /** Whether the schema admits only strings. */
  textual: boolean
  /** The texts beside the schema. */
  texts?: readonly string[]
  /** Names the schema; equal in all processes with the same schema. */
  fingerprint: string
}

/** Compiles a schema of any vendor. Throws for a schema that cannot be used. */
export type SchemaCompiler = (schema: object) => CompiledSchema

// Ajv selects the branches of unions for a Standard Schema. The vendor has checked the formats, and may add keywords.
const LENIENT = { customOptions: { strict: false, validateFormats: false, logger: false } } as const

/**
 * Returns the compiler of one Fastify scope. `added`: the schemas of its `app.addSchema` calls, by `$id`. The versions
 * of TypeBox must be loaded. Ajv checks the schemas of a missing one.
 */
export function schemaCompiler (
  added: SharedSchemas,
  options: AjvOptions = {},
  { sinclair, typebox } = typeBoxes()
): SchemaCompiler {
  const shared: SharedSchemas = Object.fromEntries(
    Object.entries(added).map(([id, schema]) => [id, withEveryKey(schema as SchemaNode)])
  )
  const ajv = new AjvChecker(shared, options)
  const lenient = new AjvChecker(shared, LENIENT)

  function compileChecker (schema: object, source: SchemaNode): DataChecker {
    try {
      return select(schema, source)
    } catch (error) {
      // The extractor names the place of a type without a form in JSON, and an alternative.
      compileExtractor(Subschema.fromRoot(source, { shared, isAjvSchema: () => true }), () => () => true)
      throw error
    }
  }

  function select (schema: object, source: SchemaNode): DataChecker {
    const vendor = vendorOf(schema)
    if (vendor === 'standard') return standardChecker(schema as StandardSchema, source, shared, lenient)
    if (vendor === 'sinclair-typebox' && sinclair !== undefined) {
      return dataChecker(sinclairChecker(sinclair, source, shared, ajv), shared)
    }
    return dataChecker(
      vendor === 'typebox' && typebox !== undefined
        ? typeboxChecker(typebox, source, shared, ajv)
        : ajv.checker(source),
      shared
    )
  }

  function compileData (schema: object): CompiledSchema {
    const given = jsonSchemaOf(schema)
    assertUsable(given)
    const source = withEveryKey(given)
    const { accept, explain, passesAnyValue } = compileChecker(schema, source)
    const textual = isTextSchema(source, shared)
    const serialize = compileSerializer(source, shared)
    return {
      write: textual
        ? value => {
          const data = accept(value)
          return typeof data === 'string' ? data : undefined
        }
        : value => {
          const data = accept(value)
          if (data === undefined) return undefined
          const text = serialize(data)
          if (passesAnyValue) assertJsonForm(data, text)
          return text
        },
      explain: value => {
        const { path, message } = explain(value) ?? { path: '', message: 'does not match the schema' }
        return { path: path || '/', message }
      },
      textual,
      fingerprint: fingerprintSchema(source, shared)
    }
  }

  return schema => {
    const { texts, schema: data } = splitTexts(schema)
    const compiled = compileData(data as object)
    return texts === undefined ? compiled : besideTexts(compiled, texts)
  }
}

/** Returns the compiled schema of data that fit the schema or are one of the texts. Throws for texts that are JSON. */
function besideTexts (compiled: CompiledSchema, texts: unknown): CompiledSchema {
  if (!Array.isArray(texts) || texts.length === 0 || !texts.every(text => typeof text === 'string')) {
    throw new Error(`withTexts takes a schema and strings, got ${describe(texts)}`)
  }
  for (const text of texts as string[]) {
    if (isJson(text)) throw new Error(`the text ${describe(text)} is JSON: a client could not tell it from data`)
  }
  const list = texts as string[]
  return {
    ...compiled,
    write: data => typeof data === 'string' && list.includes(data) ? data : compiled.write(data),
    texts: list,
    fingerprint: fingerprintSchema({ texts: list, fingerprint: compiled.fingerprint }, {})
  }
}

// Keywords of later drafts than draft 7 that declare data: the extractor would pass undeclared properties.
const UNKNOWN = ['prefixItems', 'dependentSchemas', '$dynamicRef', '$recursiveRef']

/** Throws if the schema has a part that cannot be used; the message names an alternative. */
function assertUsable (schema: SchemaNode): void {
  mapSchema(schema, node => {
    if ('~codec' in node) throw new Error('Type.Codec changes the data: declare the data as sent')
    const unknown = UNKNOWN.find(keyword => keyword in node)
    if (unknown !== undefined) {
      throw new Error(`the keyword '${unknown}' is not in draft 7 of JSON Schema: use the keywords of draft 7${
        unknown === 'prefixItems' ? ', here items: […]' : ''}`)
    }
    // A schema of ArkType is a function.
    Object.values(node).flatMap(inner => isSchemaNode(inner) ? Object.values(inner) : inner).forEach(assertNoOther)
    return node
  }, assertNoOther)
}

function assertNoOther (inner: unknown): boolean {
  if (!isStandardSchema(inner)) return false
  const vendor = vendorName(inner)
  throw new Error(`a schema of ${vendor} is inside another schema: make the whole schema with ${vendor}`)
}

/** Returns the checker of the declared part of data. */
function dataChecker (
  { schema, check, explain, compileBranch }: Checker,
  shared: SharedSchemas
): DataChecker {
  const extractor = compileExtractor(Subschema.fromRoot(schema, { shared, isAjvSchema }), compileBranch)
  return {
    accept (value) {
      // Text is the most frequent data, and a string declares no properties.
      if (typeof value === 'string') return check(value) ? value : undefined
      const part = extractor.extract(value)
      return !extractor.hasMismatch() && check(part) ? part : undefined
    },
    explain (value) {
      const part = extractor.extract(value)
      // If no branch of a union matches, then the error is reported for the whole value.
      return (extractor.hasMismatch() ? undefined : explain(withoutUndefined(part))) ?? explain(value)
    },
    passesAnyValue: extractor.passesAnyValue
  }
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

/** Returns the value without undefined properties: the checks treat them as missing. */
function withoutUndefined (value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutUndefined)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined)
  return Object.assign(Object.create(null),
    Object.fromEntries(entries.map(([name, inner]) => [name, withoutUndefined(inner)])))
}
