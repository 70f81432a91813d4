import { isSchemaNode, type SchemaNode } from './json-schema.ts'

/**
 * The library that a schema was made with. `typebox`: TypeBox 1.x, the package `typebox`. `sinclair-typebox`: TypeBox
 * 0.34, the package `@sinclair/typebox`. `standard`: any library with Standard Schema, such as Zod, Valibot and ArkType.
 * `json-schema`: a plain JSON Schema.
 */
export type Vendor = 'typebox' | 'sinclair-typebox' | 'standard' | 'json-schema'

/** A schema of a library that implements Standard Schema (https://standardschema.dev), as far as it is read here. */
export interface StandardSchema {
  readonly '~standard': {
    readonly vendor: string
    readonly validate: (value: unknown) => unknown
    readonly jsonSchema?: Readonly<Record<'input' | 'output', (options: { target: string }) => Record<string, unknown>>>
  }
}

// Both versions of TypeBox are recognized by their marks, because the program may have another copy of TypeBox than
// this package.
const KIND = Symbol.for('TypeBox.Kind')

// A schema of ArkType is a function.
const isObject = (value: unknown): value is object =>
  (typeof value === 'object' && value !== null && !Array.isArray(value)) || typeof value === 'function'

export function isStandardSchema (schema: unknown): schema is StandardSchema {
  return isObject(schema) && '~standard' in schema && isObject(schema['~standard']) &&
    typeof (schema as StandardSchema)['~standard'].validate === 'function'
}

/** Returns the vendor of a schema; undefined if the value is no schema. */
export function vendorOf (schema: unknown): Vendor | undefined {
  if (!isObject(schema)) return undefined
  if (KIND in schema) return 'sinclair-typebox'
  if (Object.hasOwn(schema, '~kind')) return 'typebox'
  if (isStandardSchema(schema)) return 'standard'
  return typeof schema === 'function' ? undefined : 'json-schema'
}

// The vendor makes a new object at each call. Identity counts: for the writer, for OpenAPI and for the fingerprint.
const known = new WeakMap<object, SchemaNode>()

/**
 * Returns the JSON Schema (draft 7) of a schema of any vendor; of a Standard Schema, the one of its output. Throws if
 * the vendor gives none; the message names an alternative.
 */
export function jsonSchemaOf (schema: object): SchemaNode {
  if (vendorOf(schema) !== 'standard') return schema as SchemaNode
  let node = known.get(schema)
  if (node === undefined) {
    node = outputSchema(schema as StandardSchema)
    known.set(schema, node)
  }
  return node
}

function outputSchema ({ '~standard': standard }: StandardSchema): SchemaNode {
  if (standard.jsonSchema === undefined) {
    throw new Error(`${standard.vendor} gives no JSON Schema: add it with withJsonSchema(schema, jsonSchema)${
      standard.vendor === 'valibot' ? ', or with toStandardJsonSchema(schema) of @valibot/to-json-schema' : ''
    }`)
  }
  const node: unknown = standard.jsonSchema.output({ target: 'draft-07' })
  if (!isSchemaNode(node)) throw new Error(`${standard.vendor} gives no JSON Schema`)
  const { $schema: _, ...schema } = node
  return schema
}

/**
 * Returns the Standard Schema with a JSON Schema (draft 7) of its output, for a library that gives none. The data of an
 * event is checked by the former and written by the latter.
 */
export function withJsonSchema<S extends StandardSchema> (schema: S, jsonSchema: Record<string, unknown>): S {
  const give = (): Record<string, unknown> => jsonSchema
  return { '~standard': { ...schema['~standard'], jsonSchema: { input: give, output: give } } } as S
}
