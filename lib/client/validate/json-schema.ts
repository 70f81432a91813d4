import { dereference, validate as check } from '@cfworker/json-schema'
import { vendorOf } from '../../schema/vendor.ts'
import { missingReferences } from './references.ts'
import { validate as validateStandard } from './standard.ts'

const TYPES = ['object', 'array', 'string', 'number', 'integer', 'boolean', 'null']
// Keywords whose value is data.
const DATA = ['const', 'enum', 'default', 'examples']
// The errors of these keywords only introduce the errors of the schemas inside.
const OUTER = ['properties', 'patternProperties', 'additionalProperties', 'unevaluatedProperties', 'items',
  'prefixItems', 'additionalItems', '$ref', 'allOf', 'if']

type Lookup = ReturnType<typeof dereference>
interface Prepared { readonly schema: Lookup[string], readonly lookup: Lookup }
const cache = new WeakMap<object, Prepared>()

/**
 * Checks the data of an event by its JSON Schema, for `connect(url, { events, validate })`. Returns the fault, or
 * undefined. Generates no code, which a Content Security Policy may forbid. Checks Standard Schemas by their own
 * library, and schemas of TypeBox by their JSON Schema. The server alone checks formats, and the length of strings in
 * schemas of TypeBox: the libraries differ in their meaning.
 */
export function validate (schema: unknown, data: unknown): string | undefined {
  const vendor = vendorOf(schema)
  if (vendor === undefined || vendor === 'standard') return validateStandard(schema, data)
  let prepared = cache.get(schema as object)
  if (prepared === undefined) {
    prepared = prepare(schema as object, vendor === 'json-schema')
    cache.set(schema as object, prepared)
  }
  const { errors } = check(data, prepared.schema, '2019-09', prepared.lookup)
  const index = errors.findIndex(({ keyword }) => !OUTER.includes(keyword))
  if (index < 0) return undefined
  const { keyword, instanceLocation } = errors[index]!
  // The schema `false` of a closed object says less than the error before.
  const { error } = errors[keyword === 'false' ? index - 1 : index]!
  return `${error.replace(/\.$/, '')} at '${decodeURI(instanceLocation.slice(1)) || '/'}'`
}

/**
 * Returns a copy of the schema that the library can check. The library writes into it, and throws for two schemas of
 * one `$id` and for a reference without a target.
 */
function prepare (source: object, withLengths: boolean): Prepared {
  const missing = missingReferences(source)
  const texts = new Map<string, string>()
  let isAmbiguous = false

  const copy = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(copy)
    if (typeof value !== 'object' || value === null) return value
    const node: Record<string, unknown> = Object.fromEntries(
      Object.entries(value).map(([key, inner]) => [key, DATA.includes(key) ? inner : copy(inner)])
    )
    const { $id, $ref, type, nullable, format, pattern, minLength, maxLength } = node
    if (typeof $id === 'string') {
      const text = JSON.stringify(value)
      const known = texts.get($id)
      isAmbiguous ||= known !== undefined && known !== text
      if (known !== undefined) return { $ref: $id }
      texts.set($id, text)
    }
    if (missing.includes($ref as string)) delete node.$ref
    if (typeof format === 'string') delete node.format
    if (typeof pattern === 'string' && !isPattern(pattern)) delete node.pattern
    if (!withLengths && typeof minLength === 'number') delete node.minLength
    if (!withLengths && typeof maxLength === 'number') delete node.maxLength
    if (typeof type !== 'string' && !Array.isArray(type)) return node
    // JSON has no value of such a type: the server sends another value in its place.
    if (![type].flat().every(type => TYPES.includes(type as string))) delete node.type
    else if (nullable === true) node.type = [type, 'null'].flat()
    return node
  }

  const copied = copy(source) as Lookup[string]
  // Two different schemas have one `$id`, so the target of a reference is unknown: any value passes.
  const schema = isAmbiguous || copied
  return { schema, lookup: dereference(schema) }
}

/** Whether a pattern is valid in Unicode mode: TypeBox compiles it in the other one. */
function isPattern (pattern: string): boolean {
  try {
    new RegExp(pattern, 'u').test('')
    return true
  } catch {
    return false
  }
}
