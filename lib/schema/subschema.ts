import { isNode, type Node } from './json-schema.ts'
import type { SharedSchemas } from './text-schema.ts'

/** The schema that `#` refers to, and the named ones inside it. */
interface Home {
  readonly root: Node
  /** Ajv checks this schema, and not TypeBox. */
  readonly plain: boolean
  /** The outermost schema, which Ajv compiles. */
  readonly top: Node
  readonly own: ReadonlyMap<string, Node>
}

export interface Surroundings {
  readonly shared: SharedSchemas
  /** Whether Ajv checks this schema and all inside it. */
  readonly isPlain: (node: Node) => boolean
}

/** A schema inside another: where it stands, and where its references lead. */
export class Subschema {
  readonly node: unknown
  readonly home: Home
  /** The JSON pointer from the home, as the fragment of a URI. */
  readonly pointer: string
  /** The JSON pointer of the values that the schema is for. */
  readonly at: string
  readonly #around: Surroundings

  private constructor (node: unknown, home: Home, pointer: string, at: string, around: Surroundings) {
    this.#around = around
    this.node = node
    this.home = home
    this.pointer = pointer
    this.at = at
    if (!isNode(node) || node === home.root) return
    if (!home.plain && around.isPlain(node)) this.home = { root: node, top: node, plain: true, own: named(node) }
    else if (!home.plain && isNode(node.$defs)) this.home = { ...home, root: node, own: new Map([...home.own, ...Object.entries(node.$defs) as Array<[string, Node]>]) }
    else if (home.plain && isId(node.$id)) this.home = { ...home, root: node }
    else return
    this.pointer = ''
  }

  static of (schema: Node, around: Surroundings): Subschema {
    const nowhere: Home = { root: {}, top: {}, plain: false, own: named(schema) }
    return new Subschema(schema, nowhere, '', '', around)
  }

  /** A direct subschema: by keyword, and by its key there; `property` is the property of the values. */
  child (keyword: string, key?: string | number, property?: string | number): Subschema {
    const under = (this.node as Node)[keyword]
    const node = key === undefined ? under : (under as Record<string | number, unknown>)[key]
    const pointer = [keyword, ...key === undefined ? [] : [key]].map(name => `/${encodeURIComponent(escaped(name))}`).join('')
    return new Subschema(node, this.home, this.pointer + pointer, property === undefined ? this.at : `${this.at}/${escaped(property)}`, this.#around)
  }

  children (keyword: string): Subschema[] {
    const list = (this.node as Node)[keyword]
    return Array.isArray(list) ? list.map((_, i) => this.child(keyword, i)) : []
  }

  /** The target of a `$ref`. Throws where there is none. */
  target (ref: string): Subschema {
    const [id = '', fragment = ''] = ref.split('#', 2)
    const { own, root, plain } = this.home
    const anchor = id === '' ? own.get(ref) : undefined
    if (anchor !== undefined) return new Subschema(anchor, this.home, fragment, this.at, this.#around)
    const inside = own.get(ref) ?? own.get(id) ?? (id === '' ? root : undefined)
    const shared = Object.hasOwn(this.#around.shared, id) ? this.#around.shared[id] as Node : undefined
    const start = inside ?? shared
    if (start === undefined) throw new Error(`Cannot find reference "${ref}"`)
    const home = inside === undefined ? { root: start, top: start, plain: true, own: named(start) } : !plain || start === root ? this.home : { ...this.home, root: start }
    if (!fragment.startsWith('/')) return new Subschema(start, home, '', this.at, this.#around)
    const keys = decodeURIComponent(fragment).slice(1).split('/').map(key => key.replaceAll('~1', '/').replaceAll('~0', '~'))
    const node = keys.reduce<unknown>((value, key) => typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? (value as Node)[key] : undefined, start)
    if (node === undefined) throw new Error(`Cannot find reference "${ref}"`)
    return new Subschema(node, home, fragment, this.at, this.#around)
  }
}

const escaped = (name: string | number): string => String(name).replaceAll('~', '~0').replaceAll('/', '~1')
const isId = (id: unknown): id is string => typeof id === 'string' && !id.startsWith('#')

/** All schemas inside this one by their `$id`, and by their anchors, as `#name`. */
function named (schema: Node, names: Map<string, Node> = new Map()): Map<string, Node> {
  if (typeof schema.$id === 'string') names.set(schema.$id, schema)
  if (typeof schema.$anchor === 'string') names.set(`#${schema.$anchor}`, schema)
  for (const value of Object.values(schema)) for (const inner of Array.isArray(value) ? value : [value]) if (isNode(inner)) named(inner, names)
  return names
}
