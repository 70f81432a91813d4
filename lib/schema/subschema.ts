import { isSchemaNode, type SchemaNode } from './json-schema.ts'
import type { SharedSchemas } from './text-schema.ts'

/** A schema resource (JSON Schema 2020-12 §4.3.5): the schema that `#` refers to, and the named schemas inside it. */
interface SchemaResource {
  readonly root: SchemaNode
  /** Whether Ajv checks this schema, instead of TypeBox. */
  readonly checkedByAjv: boolean
  /** The outermost schema, which Ajv compiles. */
  readonly outermost: SchemaNode
  readonly named: ReadonlyMap<string, SchemaNode>
}

export interface SchemaContext {
  readonly shared: SharedSchemas
  /** Whether Ajv checks this schema and all its subschemas. */
  readonly isAjvSchema: (node: SchemaNode) => boolean
}

/** A schema inside another one, with its location and the targets of its references. */
export class Subschema {
  readonly node: unknown
  readonly resource: SchemaResource
  /** The JSON pointer from the root of the resource, as the fragment of a URI. */
  readonly pointer: string
  /** The JSON pointer of the values that the schema applies to. */
  readonly instancePath: string
  readonly #context: SchemaContext

  private constructor (
    node: unknown,
    resource: SchemaResource,
    pointer: string,
    instancePath: string,
    context: SchemaContext
  ) {
    this.#context = context
    this.node = node
    this.resource = resource
    this.pointer = pointer
    this.instancePath = instancePath
    if (!isSchemaNode(node) || node === resource.root) return
    if (!resource.checkedByAjv && context.isAjvSchema(node)) {
      this.resource = { root: node, outermost: node, checkedByAjv: true, named: collectNames(node) }
    } else if (!resource.checkedByAjv && isSchemaNode(node.$defs)) {
      this.resource = {
        ...resource,
        root: node,
        named: new Map([...resource.named, ...Object.entries(node.$defs) as Array<[string, SchemaNode]>])
      }
    } else if (isId(node.$id)) this.resource = { ...resource, root: node }
    else return
    this.pointer = ''
  }

  static fromRoot (schema: SchemaNode, context: SchemaContext): Subschema {
    const outside: SchemaResource = { root: {}, outermost: {}, checkedByAjv: false, named: collectNames(schema) }
    const subschema = new Subschema(schema, outside, '', '', context)
    return subschema.resource === outside
      ? new Subschema(schema, { ...outside, root: schema }, '', '', context)
      : subschema
  }

  /** Returns the subschema under a keyword and a key. `property`: the property of the values that it applies to. */
  child (keyword: string, key?: string | number, property?: string | number): Subschema {
    const keyed = (this.node as SchemaNode)[keyword]
    const node = key === undefined ? keyed : (keyed as Record<string | number, unknown>)[key]
    const pointer = [keyword, ...key === undefined ? [] : [key]].map(name =>
      `/${encodeURIComponent(escapePointer(name))}`
    ).join('')
    return new Subschema(node, this.resource, this.pointer + pointer,
      property === undefined ? this.instancePath : `${this.instancePath}/${escapePointer(property)}`, this.#context)
  }

  children (keyword: string): Subschema[] {
    const list = (this.node as SchemaNode)[keyword]
    return Array.isArray(list) ? list.map((_, i) => this.child(keyword, i)) : []
  }

  /** Returns the target of a `$ref`. Throws if there is none. */
  resolve (ref: string): Subschema {
    const [id = '', fragment = ''] = ref.split('#', 2)
    const { named, root, checkedByAjv } = this.resource
    const anchor = id === '' ? named.get(ref) : undefined
    if (anchor !== undefined) return new Subschema(anchor, this.resource, fragment, this.instancePath, this.#context)
    const inside = named.get(ref) ?? named.get(id) ?? (id === '' ? root : undefined)
    const shared = Object.hasOwn(this.#context.shared, id) ? this.#context.shared[id] as SchemaNode : undefined
    const start = inside ?? shared
    if (start === undefined) throw new Error(`Cannot find reference "${ref}"`)
    const resource = inside === undefined
      ? { root: start, outermost: start, checkedByAjv: true, named: collectNames(start) }
      : !checkedByAjv || start === root
          ? this.resource
          : { ...this.resource, root: start }
    if (!fragment.startsWith('/')) return new Subschema(start, resource, '', this.instancePath, this.#context)
    const keys = fragment.slice(1).split('/').map(unescapePointer)
    const node = keys.reduce<unknown>(
      (value, key) =>
        typeof value === 'object' && value !== null && Object.hasOwn(value, key)
          ? (value as SchemaNode)[key]
          : undefined,
      start
    )
    if (node === undefined) throw new Error(`Cannot find reference "${ref}"`)
    return new Subschema(node, resource, fragment, this.instancePath, this.#context)
  }
}

export const escapePointer = (name: string | number): string => String(name).replaceAll('~', '~0').replaceAll('/', '~1')
/** Returns the name in a JSON pointer that is the fragment of a URI. */
export const unescapePointer = (key: string): string =>
  decodeURIComponent(key).replaceAll('~1', '/').replaceAll('~0', '~')
const isId = (id: unknown): id is string => typeof id === 'string' && !id.startsWith('#')

/** Collects all schemas inside this one by their `$id`, and by their anchors, as `#name`. */
function collectNames (schema: SchemaNode, names: Map<string, SchemaNode> = new Map()): Map<string, SchemaNode> {
  if (typeof schema.$id === 'string') names.set(schema.$id, schema)
  if (typeof schema.$anchor === 'string') names.set(`#${schema.$anchor}`, schema)
  for (const value of Object.values(schema)) {
    for (const inner of Array.isArray(value) ? value : [value]) if (isSchemaNode(inner)) collectNames(inner, names)
  }
  return names
}
