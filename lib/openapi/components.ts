import type { SchemaNode } from '../schema/json-schema.ts'

/** A document in the making, as far as it is ours to see. */
export interface OpenApiDocument {
  openapi?: string | undefined
  components?: { schemas?: unknown } | undefined
}

// What a component may be called (OpenAPI 3.2 §4.7.1).
const FORBIDDEN = /[^\w.-]+/g
// Assigning to `__proto__` sets the prototype of an object, in this process and in programs that read the document.
const UNFIT = ['', '__proto__']

const made = new WeakMap<object, Components>()

/**
 * The schemas of one document that others refer to, each there once.
 *
 * They are written into the document itself: what goes through a route's `response` is put into the form of OpenAPI 3.0 by
 * @fastify/swagger, for every version, and loses on the way what a later one can say, such as what stands beside a `$ref`.
 */
export class Components {
  readonly #home: Record<string, unknown>
  readonly #prefix: string
  readonly #names = new Map<object, string>()
  /** The same schema by another way: from another scope, or from @fastify/swagger. */
  readonly #byText = new Map<string, string>()

  private constructor (document: OpenApiDocument) {
    // The schemas of OpenAPI 3.0 are another dialect: an extension may hold any.
    const extension = minorOf(document) === 0
    const holder = (extension ? document : document.components ??= {}) as Record<string, Record<string, unknown>>
    this.#home = holder[extension ? 'x-schemas' : 'schemas'] ??= {}
    this.#prefix = extension ? '#/x-schemas/' : '#/components/schemas/'
    for (const [name, schema] of Object.entries(this.#home)) this.#byText.set(this.#textOf(name, schema), name)
  }

  static of (document: OpenApiDocument): Components {
    const known = made.get(document) ?? new Components(document)
    made.set(document, known)
    return known
  }

  /** A reference to what `make` makes of the source, under that name or, where another has it, one like it. */
  refTo (source: object, wanted: string, make: () => SchemaNode): { $ref: string } {
    let name = this.#names.get(source)
    if (name === undefined) {
      const legal = wanted.replace(FORBIDDEN, '-').replace(/^-|-$/g, '')
      name = this.#free(UNFIT.includes(legal) ? 'schema' : legal)
      // Both before it is made: it may refer to itself.
      this.#names.set(source, name)
      this.#home[name] = {}
      name = this.#settle(name, make(), wanted)
      this.#names.set(source, name)
    }
    return { $ref: this.#prefix + name }
  }

  /** Under its name, unless it is there already. */
  #settle (name: string, schema: SchemaNode, wanted: string): string {
    const text = this.#textOf(name, schema)
    // @fastify/swagger calls a shared schema def-0, and gives it its $id as a title.
    const known = this.#byText.get(text) ?? this.#byText.get(this.#textOf(name, { ...schema, title: wanted }))
    if (known !== undefined) {
      delete this.#home[name]
      return known
    }
    this.#home[name] = schema
    this.#byText.set(text, name)
    return name
  }

  /** A schema for comparison: where it means itself, it does so by whatever name. */
  #textOf (name: string, schema: unknown): string {
    return JSON.stringify(schema).replaceAll(`"${this.#prefix}${name}"`, '"#"')
  }

  #free (wanted: string): string {
    let name = wanted
    for (let n = 1; Object.hasOwn(this.#home, name); n++) name = `${wanted}-${n}`
    return name
  }
}

/** The 2 of 3.2.0. */
export function minorOf ({ openapi = '3.0' }: OpenApiDocument): number {
  return Number(openapi.split('.')[1])
}
