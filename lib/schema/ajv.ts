import { AjvCompiler } from '@fastify/ajv-compiler'
import { describe } from '../errors.ts'
import { errorMessage } from '../thrown-value.ts'
import { hasJson, lazily, type Check, type Checker, type Mismatch } from './checker.ts'
import { mapSchema, type SchemaNode } from './json-schema.ts'
import type { Subschema } from './subschema.ts'
import type { SharedSchemas } from './text-schema.ts'

interface Validator {
  (value: unknown): boolean
  errors?: Array<{ instancePath: string, message?: string }> | null
  schema: unknown
}

type BuildValidator = ReturnType<typeof AjvCompiler>
/** The value of `Fastify({ ajv })`: options and plugins of Ajv. */
export type AjvOptions = Omit<Extract<Parameters<BuildValidator>[1], { onCreate?: unknown }>, 'mode'>
type Ajv = Parameters<NonNullable<AjvOptions['onCreate']>>[0]

// The ways out of errors of Ajv, by a part of their message.
const WAYS_OUT: Array<[part: string, wayOut: string]> = [
  ['unknown keyword', "remove it, or add it to Ajv's keywords in Fastify({ ajv })"],
  ['unknown format', "remove it, or add it to Ajv's formats in Fastify({ ajv })"]
]

// The validators of the schemas that Ajv checks as a whole, also inside a schema of TypeBox.
const validators = new WeakMap<object, Validator>()

/** Whether Ajv checks this schema and all its subschemas. */
export const isAjvSchema = (schema: object): boolean => validators.has(schema)

/** Checks a value by a schema for which `isAjvSchema` is true. */
export const checkByAjv = (schema: object, value: unknown): boolean =>
  hasJson(value) && validators.get(schema)?.(value) === true

/** Returns the first mismatch of a value that failed `checkByAjv`. */
export function explainByAjv (schema: object, value: unknown): Mismatch {
  if (!hasJson(value)) return { path: '', message: `JSON has no form for ${describe(value)}` }
  const validator = validators.get(schema)!
  validator(value)
  const { instancePath, message = 'does not match the schema' } = validator.errors![0]!
  return { path: instancePath, message }
}

/** The Ajv of one Fastify scope: checks as in requests, but converts no value. */
export class AjvChecker {
  /** Whether the app has options for Ajv: formats, keywords or plugins. */
  readonly hasOptions: boolean
  readonly #shared: SharedSchemas
  readonly #options: AjvOptions
  readonly #names: Map<unknown, string>
  #compile: ReturnType<BuildValidator> | undefined
  #ajv: Ajv | undefined

  /** `shared`: the schemas of `app.addSchema`, by `$id`. */
  constructor (shared: SharedSchemas, options: AjvOptions) {
    this.hasOptions = (options.plugins ?? []).length > 0 || options.onCreate !== undefined ||
      Object.keys(options.customOptions ?? {}).length > 0
    this.#shared = shared
    this.#options = options
    this.#names = new Map(Object.entries(shared).map(([id, schema]) => [schema, id]))
  }

  /** Compiles a schema. Throws for a schema that Ajv cannot check; the message names a way out. */
  compile (schema: SchemaNode): Validator {
    const { customOptions, plugins = [], onCreate } = this.#options
    this.#compile ??= AjvCompiler()(this.#shared as Record<string, object>, {
      plugins,
      // Strict: an event is not a query string, so Ajv converts no value and fills in no default.
      customOptions: { ...customOptions, coerceTypes: false, useDefaults: false, removeAdditional: false },
      onCreate: instance => {
        this.#ajv = instance
        onCreate?.(instance)
      }
    })
    let validator: Validator
    try {
      validator = this.#compile({ method: '', url: '', schema, httpPart: 'body' }) as Validator
    } catch (cause) {
      const message = errorMessage(cause)
      const wayOut = WAYS_OUT.find(([part]) => message.includes(part))?.[1]
      throw wayOut === undefined ? cause : new Error(`${message}: ${wayOut}`, { cause })
    }
    // Ajv has one schema for each id.
    if (validator.schema !== schema && JSON.stringify(validator.schema) !== JSON.stringify(schema)) {
      throw new Error(`the $id '${String(schema.$id)}' names another schema: give each schema an $id of its own`)
    }
    return validator
  }

  /** Compiles a schema. Returns a copy of it, for which `isAjvSchema` is true. */
  add (schema: SchemaNode): SchemaNode {
    const copy = mapSchema(schema, node => {
      if ('~refine' in node) {
        throw new Error('Ajv cannot check Type.Refine: install typebox, and make the schemas around it with typebox')
      }
      return node
    })
    // Ajv caches by object. compileBranch adds the copy itself under a name.
    validators.set(copy, this.compile({ ...copy }))
    return copy
  }

  /** Compiles the checker of a schema that Ajv checks as a whole. */
  checker (source: SchemaNode): Checker {
    const schema = this.add(source)
    return {
      schema,
      check: value => checkByAjv(schema, value),
      explain: value => checkByAjv(schema, value) ? undefined : explainByAjv(schema, value),
      compileBranch: branch => this.compileBranch(branch)
    }
  }

  /** Returns the check of one subschema of a schema that Ajv checks. */
  compileBranch ({ resource: { root, outermost }, pointer }: Subschema): Check {
    return lazily(() => {
      // A schema without an `$id` gets one, so that Ajv can refer to its parts.
      let name = this.#names.get(outermost)
      if (name === undefined) {
        name = typeof outermost.$id === 'string' ? outermost.$id : `fastify-typed-sse-${this.#names.size}`
        this.#names.set(outermost, name)
        // Another schema with that id may have been added before.
        if (this.#ajv!.getSchema(name) === undefined) this.#ajv!.addSchema(outermost, name)
      }
      if (root !== outermost) name = root.$id as string
      return this.compile({ $ref: `${name}#${pointer}` })
    })
  }
}
