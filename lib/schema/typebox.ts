import { types } from 'node:util'
import { checkByAjv, explainByAjv, isAjvSchema, type AjvChecker } from './ajv.ts'
import { ASYNC, PROMISE, isPromise, lazily, type Check, type Checker, type Mismatch } from './checker.ts'
import { definedNames, mapSchema, type SchemaNode } from './json-schema.ts'
import type { Subschema } from './subschema.ts'
import type { SharedSchemas } from './text-schema.ts'

interface ValidationError { keyword: string, instancePath: string, message: string, params: object }
interface Validator { Check: (value: unknown) => boolean, Errors: (value: unknown) => [boolean, ValidationError[]] }

/** The part of `typebox` 1.x that the check of events needs. */
export interface TypeBox {
  readonly Compile: (context: Readonly<Record<string, object>>, schema: object) => Validator
  readonly hasFormat: (name: string) => boolean
}

/** A check inside a schema. `error` returns why a value fails: a text, or a mismatch if this package made the check. */
interface Refinement { check: Check, error: (value: unknown) => unknown }

// TypeBox checks the keywords of these kinds. Ajv checks every other schema, or rejects it: TypeBox would accept any
// value for a schema without a known keyword.
const CHECKED_KINDS = ['Array', 'Boolean', 'Cyclic', 'Enum', 'Integer', 'Intersect', 'Literal', 'Never', 'Null',
  'Number', 'Object', 'Record', 'Ref', 'String', 'TemplateLiteral', 'This', 'Tuple', 'Union']

/** Compiles the checker of a schema of TypeBox 1.x. Throws for a schema that cannot be used. */
export function typeboxChecker (
  { Compile, hasFormat }: TypeBox,
  source: SchemaNode,
  shared: SharedSchemas,
  ajv: AjvChecker
): Checker {
  const definitions = definedNames(source)
  const isShared = ({ $ref }: SchemaNode): boolean =>
    typeof $ref === 'string' && !definitions.has($ref) && Object.hasOwn(shared, $ref.replace(/#$/, ''))
  const needsAjv = (node: SchemaNode): boolean => !CHECKED_KINDS.includes(String(node['~kind'])) || isShared(node)

  /** Returns the check of a format as in Fastify's requests; undefined for a format that only TypeBox knows. */
  function formatCheck (format: string): Check | undefined {
    try {
      return ajv.format(format)
    } catch (error) {
      if (hasFormat(format)) return undefined
      throw error
    }
  }

  /** Returns the schema in the form that TypeBox checks: Ajv checks some of the subschemas, and the formats. */
  const checkable = (schema: SchemaNode): SchemaNode =>
    mapSchema(schema, given => {
      const node = withSyncRefinements(given)
      const { format, ...others } = node
      if (isAjvSchema(given)) {
        return refine({}, node, {
          check: value => checkByAjv(given, value),
          error: value => explainByAjv(given, value)
        })
      }
      const check = typeof format === 'string' ? formatCheck(format) : undefined
      if (check === undefined) return node
      const message = `must match format "${String(format)}"`
      return refine(others, node, {
        check: value => typeof value !== 'string' || check(value),
        error: () => ({ path: '', message })
      })
    }, isAjvSchema)

  const schema = mapSchema(source, node => {
    if (!needsAjv(node)) return node
    const { '~refine': refinements, ...plain } = node
    return Object.assign(ajv.add(plain), refinements === undefined ? {} : { '~refine': refinements })
  }, needsAjv)
  const typed = Compile({}, checkable(schema))
  return {
    schema,
    check: value => typed.Check(value),
    explain: value => firstError(typed.Errors(value)[1]),
    compileBranch (branch) {
      if (branch.resource.checkedByAjv) return ajv.compileBranch(branch)
      return lazily(() => {
        const references = referencesOf(branch).map(([name, node]) => [name, checkable(node)])
        const compiled = Compile(Object.fromEntries(references) as Record<string, object>,
          checkable(branch.node as SchemaNode))
        return value => compiled.Check(value)
      })
    }
  }
}

/** Returns the schema with one more refinement, which is checked first. */
const refine = (schema: SchemaNode, { '~refine': others = [] }: SchemaNode, refinement: Refinement): SchemaNode => ({
  ...schema,
  '~refine': [refinement, ...others as Refinement[]]
})

/** Returns the schema with refinements that throw for a promise: TypeBox would take it for a match. */
function withSyncRefinements (schema: SchemaNode): SchemaNode {
  const { '~refine': refinements } = schema
  if (refinements === undefined) return schema
  return {
    ...schema,
    '~refine': (refinements as Refinement[]).map(({ check, error }) => {
      if (types.isAsyncFunction(check)) throw new Error(ASYNC)
      return {
        error,
        check: (value: unknown) => {
          const result = check(value)
          if (isPromise(result)) throw new TypeError(PROMISE)
          return result
        }
      }
    })
  }
}

/** Returns the schemas that a subschema may refer to, by the text of the reference. */
function referencesOf (branch: Subschema): Array<[reference: string, schema: SchemaNode]> {
  const { root, named } = branch.resource
  const references = [...named]
  mapSchema(root, node => {
    const { $ref } = node
    if (typeof $ref === 'string' && $ref.startsWith('#')) {
      references.push([$ref, branch.resolve($ref).node as SchemaNode])
    }
    return node
  }, isAjvSchema)
  return references
}

function firstError (errors: ValidationError[]): Mismatch | undefined {
  // A schema `false` only repeats that a property is not allowed.
  const error = errors.find(({ keyword }) => keyword !== 'boolean')
  if (error === undefined) return undefined
  const { keyword, instancePath, message, params } = error
  if (keyword !== '~refine') return { path: instancePath, message }
  const reason: unknown = (params as { message?: unknown }).message
  if (typeof reason !== 'object' || reason === null) return { path: instancePath, message: String(reason) }
  const inner = reason as Mismatch
  return { path: instancePath + inner.path, message: inner.message }
}
