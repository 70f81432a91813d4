import { isSchemaNode, type SchemaNode } from './json-schema.ts'

/**
 * The library that a schema was made with. `typebox`: TypeBox 1.x, the package `typebox`. `sinclair-typebox`: TypeBox
 * 0.34, the package `@sinclair/typebox`. `standard`: a library with Standard Schema, such as Zod, Valibot or ArkType.
 * `json-schema`: a plain JSON Schema.
 */
export type Vendor = 'typebox' | 'sinclair-typebox' | 'standard' | 'json-schema'

interface Options { target: string, libraryOptions?: Record<string, unknown> }

/** A schema of a library that implements Standard Schema (https://standardschema.dev), as far as it is read here. */
export interface StandardSchema {
  readonly '~standard': {
    readonly vendor: string
    readonly validate: (value: unknown) => unknown
    readonly jsonSchema?: Readonly<Record<'input' | 'output', (options: Options) => Record<string, unknown>>>
  }
}

// Both versions of TypeBox are recognized by their marks, because the program may have another copy of TypeBox than
// this package.
const KIND = Symbol.for('TypeBox.Kind')
const MARKS = ['~kind', '~unsafe', '~refine', '~codec']

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
  if (MARKS.some(mark => Object.hasOwn(schema, mark))) return 'typebox'
  if (isStandardSchema(schema)) return 'standard'
  return typeof schema === 'function' ? undefined : 'json-schema'
}

/** Whether the value is a schema of any vendor. */
export const isSchema = (value: unknown): value is object => vendorOf(value) !== undefined

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
    node = convert(schema as StandardSchema, 'output')
    known.set(schema, node)
  }
  return node
}

/** Returns the JSON Schema of the input of a Standard Schema. */
export const inputSchemaOf = (schema: StandardSchema): SchemaNode => convert(schema, 'input')

// ArkType converts a type without a form in JSON, such as Date, to a schema that admits any value, which would let
// undeclared properties pass. Valibot refuses actions that change no JSON Schema: its own check runs them.
const refuse = (): never => { throw new Error('a type has no form in JSON') }
const LIBRARY_OPTIONS: Record<string, Record<string, unknown>> = {
  arktype: {
    fallback: {
      date: refuse,
      domain: refuse,
      proto: refuse,
      symbolKey: refuse,
      arrayObject: refuse,
      arrayPostfix: () => { throw new Error('JSON Schema cannot express items after a variadic one') },
      // JSON leaves out undefined properties. `type`: a branch without one would declare any property.
      unit: ({ unit }: { unit: unknown }) => unit === undefined ? { type: 'null', not: {} } : refuse()
    }
  },
  valibot: {
    ignoreActions: ['brand', 'flavor', 'readonly', 'check', 'check_items', 'partial_check', 'raw_check', 'every_item',
      'some_item', 'excludes', 'finite', 'ip']
  }
}

function convert (schema: StandardSchema, side: 'input' | 'output'): SchemaNode {
  const vendor = vendorName(schema)
  const { jsonSchema } = schema['~standard']
  if (jsonSchema === undefined) {
    throw new Error(`${vendor} gives no JSON Schema: add it with withJsonSchema(schema, jsonSchema)${
      vendor === 'valibot' ? ', or with toStandardJsonSchema(schema) of @valibot/to-json-schema' : ''
    }`)
  }
  const libraryOptions = LIBRARY_OPTIONS[vendor]
  let node: unknown
  try {
    node = jsonSchema[side]({ target: 'draft-07', ...libraryOptions === undefined ? {} : { libraryOptions } })
  } catch (cause) {
    // The client loads this file: it imports neither Node nor a package.
    const reason = String((Object(cause) as { message?: unknown }).message).replace(/\.$/, '')
    throw new Error(`${reason}: declare the data as sent, or add a JSON Schema with withJsonSchema()`, { cause })
  }
  if (!isSchemaNode(node)) throw new Error(`${vendor} gives no JSON Schema`)
  const { $schema: _, ...converted } = node
  return converted
}

const VENDOR_NAMES = { typebox: 'typebox', 'sinclair-typebox': '@sinclair/typebox', 'json-schema': 'JSON Schema' }

/** Returns the name of the library that a schema was made with, for messages. */
export function vendorName (schema: object): string {
  const vendor = vendorOf(schema)!
  return vendor === 'standard' ? String((schema as StandardSchema)['~standard'].vendor) : VENDOR_NAMES[vendor]
}

/**
 * Returns the Standard Schema with a JSON Schema (draft 7) of its output, for a library that gives none. The data of an
 * event is checked by the former and written by the latter.
 */
export function withJsonSchema<S extends StandardSchema> (schema: S, jsonSchema: Record<string, unknown>): S {
  const give = (): Record<string, unknown> => jsonSchema
  const standard: StandardSchema['~standard'] = { ...schema['~standard'], jsonSchema: { input: give, output: give } }
  return Object.create(schema, { '~standard': { value: standard, enumerable: true } }) as S
}
