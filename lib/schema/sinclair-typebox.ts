import { checkByAjv, explainByAjv, isAjvSchema, type AjvChecker } from './ajv.ts'
import { lazily, type Check, type Checker, type Mismatch } from './checker.ts'
import { definedNames, mapSchema, type SchemaNode } from './json-schema.ts'
import type { Subschema } from './subschema.ts'
import type { SharedSchemas } from './text-schema.ts'

/** An error of TypeBox 0.34. */
interface ValueError { type: number, schema: object, path: string, value: unknown, message: string }
interface TypeCheck {
  Check: (value: unknown) => boolean
  Errors: (value: unknown) => { First: () => ValueError | undefined }
}

/** The part of `@sinclair/typebox` 0.34 that the check of events needs. */
export interface SinclairTypeBox {
  readonly Kind: symbol
  readonly KindGuard: { IsKind: (schema: unknown) => boolean, IsRef: (schema: unknown) => boolean }
  readonly FormatRegistry: {
    Has: (name: string) => boolean
    Set: (name: string, check: (text: string) => boolean) => void
  }
  readonly TypeRegistry: { Set: (kind: string, check: (schema: object, value: unknown) => boolean) => void }
  readonly ValueErrorType: { readonly Kind: number }
  readonly TypeCompiler: { Compile: (schema: never, references?: never) => TypeCheck }
}

const KIND = Symbol.for('TypeBox.Kind')
// The kind of schemas that TypeBox cannot check: Type.Unsafe, plain JSON Schema, and schemas of app.addSchema, which
// Fastify clones without their TypeBox kinds. Ajv checks them, as in requests.
const JSON_SCHEMA = 'fastify-typed-sse:JsonSchema'
// TypeBox would accept any value for these, and the serializer would write `undefined` into the JSON.
const UNCHECKED_KINDS = ['Unsafe', 'Any', 'Unknown', 'Not']
// Formats that this package registered in TypeBox, with their meaning in Fastify's requests.
const registeredFormats = new Set<string>()

/** Compiles the checker of a schema of TypeBox 0.34. Throws for a schema that cannot be used. */
export function sinclairChecker (
  { KindGuard, FormatRegistry, TypeRegistry, TypeCompiler, ValueErrorType }: SinclairTypeBox,
  source: SchemaNode,
  shared: SharedSchemas,
  ajv: AjvChecker
): Checker {
  const compile = (schema: SchemaNode, references: SchemaNode[] = []): TypeCheck =>
    TypeCompiler.Compile(schema as never, references as never)
  TypeRegistry.Set(JSON_SCHEMA, checkByAjv)

  // TypeBox rejects every string of an unregistered format. This registers the formats of Fastify's requests, unless
  // the program has registered the name itself. An unknown name throws here, at start-up.
  function registerFormat (format: string): void {
    if (FormatRegistry.Has(format)) return
    const check = ajv.format(format)
    registeredFormats.add(format)
    FormatRegistry.Set(format, value => check(value))
  }

  // TypeBox's registry is global, but each app has its own formats: Ajv checks a whole schema with such a format.
  const hasOwnFormat = ({ format }: SchemaNode): boolean =>
    ajv.hasOptions && typeof format === 'string' && (!FormatRegistry.Has(format) || registeredFormats.has(format))

  /**
   * Returns the schema in the form that TypeBox can check. Ajv checks each schema without a TypeBox kind as a whole, so
   * that the references inside it resolve.
   */
  function checkable (): SchemaNode {
    const definitions = definedNames(source)
    const isShared = (ref: string): boolean => !definitions.has(ref) && Object.hasOwn(shared, ref.replace(/#$/, ''))
    const needsAjv = (node: SchemaNode): boolean =>
      !KindGuard.IsKind(node) || UNCHECKED_KINDS.includes(String(node[KIND])) || hasOwnFormat(node) ||
      (KindGuard.IsRef(node) && isShared(node.$ref as string))
    return mapSchema(source, node => {
      if (!needsAjv(node)) {
        if (typeof node.format === 'string') registerFormat(node.format)
        return node
      }
      const { [KIND]: _, ...plain } = node
      return ajv.add({ ...plain, [KIND]: JSON_SCHEMA })
    }, needsAjv)
  }

  const schema = checkable()
  const typed = compile(schema)
  return {
    schema,
    check: value => typed.Check(value),
    explain (value) {
      const error = typed.Errors(value).First()
      if (error === undefined) return undefined
      const { path, message } = error
      // Ajv knows the place of a mismatch in a schema that it checks.
      if (error.type !== ValueErrorType.Kind || !isAjvSchema(error.schema)) return { path, message }
      const inner: Mismatch = explainByAjv(error.schema, error.value)
      return { path: path + inner.path, message: inner.message }
    },
    compileBranch (branch: Subschema): Check {
      const { node, resource: { named, checkedByAjv } } = branch
      if (checkedByAjv) return ajv.compileBranch(branch)
      return lazily(() => {
        const compiled = compile(standalone(node as SchemaNode), [...named.values()].map(standalone))
        return value => compiled.Check(value)
      })
    }
  }
}

/** Returns the schema with each `This` as a `Ref`: TypeBox then finds the recursive schema among the references. */
function standalone (schema: SchemaNode): SchemaNode {
  return mapSchema(schema, node => node[KIND] === 'This' ? { ...node, [KIND]: 'Ref' } : node, isAjvSchema)
}
