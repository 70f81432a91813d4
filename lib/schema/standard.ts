import { types } from 'node:util'
import { errorMessage } from '../thrown-value.ts'
import type { AjvChecker } from './ajv.ts'
import { ASYNC, PROMISE, hasJson, isPromise, type Check, type DataChecker, type Mismatch } from './checker.ts'
import { compileExtractor } from './declared-part.ts'
import { fingerprintSchema } from './fingerprint.ts'
import { hasChoice, mapSchema, withEveryKey, type SchemaNode } from './json-schema.ts'
import { escapePointer, Subschema } from './subschema.ts'
import type { SharedSchemas } from './text-schema.ts'
import { inputSchemaOf, vendorName, type StandardSchema } from './vendor.ts'

const accepts: Check = () => true

/**
 * Compiles the checker of a Standard Schema. `source`: the JSON Schema of its output. Throws for a schema that cannot
 * be used; the message names a way out.
 */
export function standardChecker (
  schema: StandardSchema,
  source: SchemaNode,
  shared: SharedSchemas,
  ajv: AjvChecker
): DataChecker {
  const standard = schema['~standard']
  const vendor = vendorName(schema)
  assertSync(schema)
  // Zod closes each object of its output, but of its input only those that reject undeclared properties.
  const input = unchangedInput(schema, source)
  // The vendor selects the branch of a union: the first extractor takes the properties of all branches.
  const declared = compileExtractor(Subschema.fromRoot(input, { shared, isAjvSchema: accepts }), () => accepts)
  // Ajv takes seconds for a large schema: it compiles only those that have branches.
  const output = hasChoice(source) ? addBranches(opened(source), ajv) : opened(source)
  const sent = compileExtractor(
    Subschema.fromRoot(output, { shared, isAjvSchema: accepts }),
    branch => ajv.compileBranch(branch)
  )

  /** Returns the result of the vendor's check, or a mismatch. */
  function validate (part: unknown): { value: unknown } | Mismatch {
    try {
      const result = standard.validate(part)
      if (isPromise(result)) return { path: '', message: PROMISE }
      const { issues, value } = result as { issues?: unknown, value?: unknown }
      return issues ? toMismatch(issues) : { value }
    } catch (error) {
      return { path: '', message: `the check of ${vendor} threw: ${errorMessage(error)}` }
    }
  }

  return {
    accept (value) {
      const result = validate(declared.extract(value))
      if (!('value' in result)) return undefined
      const data = sent.extract(result.value)
      return sent.hasMismatch() || !hasJson(data) ? undefined : data
    },
    explain (value) {
      const result = validate(declared.extract(value))
      if (!('value' in result)) return result
      return { path: '', message: `the result of ${vendor} does not match its JSON Schema` }
    },
    passesAnyValue: sent.passesAnyValue
  }
}

/** Throws if the check returns a promise. Most async schemas do so for any value. */
function assertSync (schema: StandardSchema): void {
  let isAsync = (schema as { async?: unknown }).async === true ||
    ('_zod' in schema && hasAsyncCheck(schema))
  try {
    isAsync ||= isPromise(schema['~standard'].validate(undefined))
  } catch {
    // Some schemas throw for a value that they do not expect.
  }
  if (isAsync) throw new Error(ASYNC)
}

/** The internals that Zod 4 documents for libraries. */
interface Zod { readonly def: object, readonly check: (payload: object) => unknown, readonly innerType?: unknown }

/**
 * Whether a schema of Zod has an async refinement. Zod calls it only for a value that fits, and then drops its promise:
 * a rejection would end the process.
 */
function hasAsyncCheck (part: unknown, seen: Set<unknown> = new Set()): boolean {
  if (types.isAsyncFunction(part)) return true
  if (typeof part !== 'object' || part === null || seen.has(part)) return false
  seen.add(part)
  const { _zod: zod } = part as { _zod?: Zod }
  if (zod === undefined) return Object.values(part).some(inner => hasAsyncCheck(inner, seen))
  return [zod.def, zod.innerType].some(inner => hasAsyncCheck(inner, seen)) || isAsyncCheck(zod)
}

/** Whether a refinement of Zod returns a promise. Some are wrapped: only a call shows it. */
function isAsyncCheck ({ def, check }: Zod): boolean {
  if ((def as { check?: unknown }).check !== 'custom') return false
  try {
    return isPromise(check({ value: undefined, issues: [] }))
  } catch {
    // A refinement may expect a value that fits.
    return false
  }
}

/**
 * Returns the JSON Schema of the input. Throws if the output has another one: the program must send what clients
 * receive.
 */
function unchangedInput (schema: StandardSchema, output: SchemaNode): SchemaNode {
  const input = withEveryKey(inputSchemaOf(schema))
  const form = (node: SchemaNode): string => fingerprintSchema(opened(node), {})
  if (form(input) !== form(output)) {
    throw new Error('the schema changes its data, for example by a transform or a default: declare the data as sent')
  }
  return input
}

/** Returns the schema with open objects: of their properties, only the declared ones are sent. */
function opened (schema: SchemaNode): SchemaNode {
  return mapSchema(schema, node => {
    for (const keyword of ['additionalProperties', 'unevaluatedProperties']) {
      if (node[keyword] !== false) continue
      delete node[keyword]
      node.properties ??= {}
    }
    return node
  })
}

/** Compiles the checks that select the branches of unions. The vendor may allow patterns that Ajv cannot compile. */
function addBranches (schema: SchemaNode, ajv: AjvChecker): SchemaNode {
  try {
    return ajv.add(schema)
  } catch {
    return ajv.add(mapSchema(schema, ({ pattern: _, ...node }) => node))
  }
}

function toMismatch (issues: unknown): Mismatch {
  const [issue] = issues as Array<{ path?: Iterable<unknown>, message?: unknown } | undefined>
  const keys = Array.from(issue?.path ?? [], segment =>
    typeof segment === 'object' && segment !== null ? (segment as { key?: unknown }).key : segment)
  return {
    path: keys.map(key => `/${escapePointer(String(key))}`).join(''),
    message: String(issue?.message ?? 'does not match the schema')
  }
}
