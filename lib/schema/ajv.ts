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
interface Instance { ajv: Ajv, compile: ReturnType<BuildValidator> }

// The ways out of errors of Ajv, by a part of their message.
const WAYS_OUT: Array<[part: string, wayOut: string]> = [
  ['unknown keyword', "remove it, or add it to Ajv's keywords in Fastify({ ajv })"],
  ['unknown format', "remove it, or add it to Ajv's formats in Fastify({ ajv })"],
  ['no schema with key or ref', "remove '$schema', or use draft 7, as for requests"]
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
  #instance: Instance | undefined
  #added = 0

  /** `shared`: the schemas of `app.addSchema`, by `$id`. */
  constructor (shared: SharedSchemas, options: AjvOptions) {
    this.hasOptions = (options.plugins ?? []).length > 0 || options.onCreate !== undefined ||
      Object.keys(options.customOptions ?? {}).length > 0
    this.#shared = shared
    this.#options = options
    this.#names = new Map(Object.entries(shared).map(([id, schema]) => [schema, id]))
  }

  /** Compiles a schema. Returns a copy of it, for which `isAjvSchema` is true. */
  add (schema: SchemaNode): SchemaNode {
    const copy = mapSchema(schema, node => {
      if ('~refine' in node) {
        throw new Error('Ajv cannot check Type.Refine: install typebox, and make the schemas around it with typebox')
      }
      return node
    })
    // A schema without an `$id` gets a name, so that Ajv can refer to it and to its parts.
    const name = typeof copy.$id === 'string' ? copy.$id : `fastify-typed-sse-${this.#added++}`
    const validator = this.#explained(({ ajv }) => {
      if (ajv.getSchema(name) === undefined) ajv.addSchema(copy, name)
      return ajv.getSchema(name) as Validator
    })
    // Ajv has one schema for each id. The ones of equal schemas, as in two routes, are the same.
    if (validator.schema !== copy && JSON.stringify(validator.schema) !== JSON.stringify(copy)) {
      throw new Error(`the $id '${name}' names another schema: give each schema an $id of its own`)
    }
    this.#names.set(copy, name)
    validators.set(copy, validator)
    return copy
  }

  /** Returns the check of a format. Throws for an unknown one. */
  format (format: string): Validator {
    return this.#compile({ type: 'string', format })
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
    const name = root === outermost ? this.#names.get(outermost)! : root.$id as string
    return lazily(() => this.#compile({ $ref: `${name}#${pointer}` }))
  }

  #compile (schema: SchemaNode): Validator {
    return this.#explained(({ compile }) => compile({ method: '', url: '', schema, httpPart: 'body' }) as Validator)
  }

  /** Calls a function with the instance of Ajv, and adds a way out to the message of its error. */
  #explained<T> (call: (instance: Instance) => T): T {
    try {
      return call(this.#instance ??= this.#create())
    } catch (cause) {
      const message = errorMessage(cause)
      const wayOut = WAYS_OUT.find(([part]) => message.includes(part))?.[1]
      throw wayOut === undefined ? cause : new Error(`${message}: ${wayOut}`, { cause })
    }
  }

  #create (): Instance {
    const { customOptions, plugins = [], onCreate } = this.#options
    let ajv: Ajv | undefined
    const compile = AjvCompiler()(this.#shared as Record<string, object>, {
      plugins,
      // Strict: an event is not a query string, so Ajv converts no value and fills in no default.
      customOptions: { ...customOptions, coerceTypes: false, useDefaults: false, removeAdditional: false },
      onCreate: instance => {
        ajv = instance
        onCreate?.(instance)
      }
    })
    return { ajv: ajv!, compile }
  }
}
