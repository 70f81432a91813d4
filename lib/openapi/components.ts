import type { SchemaNode } from '../schema/json-schema.ts'

/** The parts of the OpenAPI document under construction that this package reads and writes. */
export interface OpenApiDocument {
  openapi?: string | undefined
  components?: { schemas?: unknown } | undefined
}

// Characters that the name of a component must not contain (OpenAPI 3.2 §4.7.1).
const FORBIDDEN = /[^\w.-]+/g
// Assigning to `__proto__` sets the prototype of an object, in this process and in programs that read the document.
const INVALID_NAMES = ['', '__proto__']

const componentsByDocument = new WeakMap<object, Components>()

/**
 * The shared schemas of one document. Each schema is in it once, and others refer to it.
 *
 * They are written into the document itself. @fastify/swagger converts a route's `response` to the form of OpenAPI 3.0,
 * for every version, and drops keywords of later versions, such as siblings of a `$ref`.
 */
export class Components {
  readonly #schemas: Record<string, unknown>
  readonly #prefix: string
  readonly #names = new Map<object, string>()
  /** Names by content: the same schema may arrive as another object, from another scope or from @fastify/swagger. */
  readonly #namesByText = new Map<string, string>()

  readonly #firsts = new Map<string, object>()

  private constructor (document: OpenApiDocument) {
    // The schemas of OpenAPI 3.0 use another dialect, so ours are in an extension, which may hold any value.
    const extension = minorOf(document) === 0
    const holder = (extension ? document : document.components ??= {}) as Record<string, Record<string, unknown>>
    this.#schemas = holder[extension ? 'x-schemas' : 'schemas'] ??= {}
    this.#prefix = extension ? '#/x-schemas/' : '#/components/schemas/'
    for (const [name, schema] of Object.entries(this.#schemas)) this.#namesByText.set(this.#textOf(name, schema), name)
  }

  static of (document: OpenApiDocument): Components {
    const components = componentsByDocument.get(document) ?? new Components(document)
    componentsByDocument.set(document, components)
    return components
  }

  /** Returns the first source with this content. The references of a source are part of its content. */
  firstOf (content: string, source: object): object {
    const first = this.#firsts.get(content) ?? source
    this.#firsts.set(content, first)
    return first
  }

  /**
   * Returns a reference to the component of `source`, and makes it by `build` at the first call. If another component
   * has the preferred name, a number is appended.
   */
  refTo (source: object, preferredName: string, build: () => SchemaNode): { $ref: string } {
    let name = this.#names.get(source)
    if (name === undefined) {
      const legal = preferredName.replace(FORBIDDEN, '-').replace(/^-|-$/g, '')
      name = this.#freeName(INVALID_NAMES.includes(legal) ? 'schema' : legal)
      // Both are set before the schema is built, because it may refer to itself.
      this.#names.set(source, name)
      this.#schemas[name] = {}
      name = this.#store(name, build(), preferredName)
      this.#names.set(source, name)
    }
    return { $ref: this.#prefix + name }
  }

  /** Stores a schema under its name. If the document already has an equal one, returns the name of that one. */
  #store (name: string, schema: SchemaNode, preferredName: string): string {
    const text = this.#textOf(name, schema)
    // @fastify/swagger calls a shared schema def-0, and gives it its $id as a title.
    const existing = this.#namesByText.get(text) ??
      this.#namesByText.get(this.#textOf(name, { ...schema, title: preferredName }))
    if (existing !== undefined) {
      delete this.#schemas[name]
      return existing
    }
    this.#schemas[name] = schema
    this.#namesByText.set(text, name)
    return name
  }

  /** Returns the text by which schemas are compared. References to itself become '#', so the name does not matter. */
  #textOf (name: string, schema: unknown): string {
    return JSON.stringify(schema).replaceAll(`"${this.#prefix}${name}"`, '"#"')
  }

  #freeName (preferredName: string): string {
    let name = preferredName
    for (let n = 1; Object.hasOwn(this.#schemas, name); n++) name = `${preferredName}-${n}`
    return name
  }
}

/** Returns the minor version: 2 for 3.2.0. */
export function minorOf ({ openapi = '3.0' }: OpenApiDocument): number {
  return Number(openapi.split('.')[1])
}
