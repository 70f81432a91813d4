import { assertJsonForm } from './json-form.ts'
import { EVERY_KEY, isNode, type Node } from './json-schema.ts'
import { Bare, merge, NOTHING, own, put } from './merge.ts'
import { admits, assertJson, flat, isBare, shapeOf, tagsOf, type Shape } from './shape.ts'
import type { Subschema } from './subschema.ts'

/**
 * Takes the declared part of a value: it leaves out undeclared properties, reads each other property once, and returns
 * plain data.
 */
export interface PartTaker {
  take: (value: unknown) => unknown
  /** Whether the last value fits no branch of some union. */
  missed: () => boolean
  /** Whether some part of the schema takes any value as it is. */
  readonly open: boolean
}

type Fits = (part: unknown) => boolean
const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

/** The value of `toJSON`, as JSON takes it. */
function formOf (value: { toJSON: (key: string) => unknown }): unknown {
  // Bytes are refused later.
  if (ArrayBuffer.isView(value)) return value
  const form = value.toJSON('')
  // JSON calls `toJSON` only once.
  return isObject(form) && typeof form.toJSON === 'function' ? snapshot(value) : form
}

/** The whole value, in the form that JSON will write. */
const everything = (value: unknown): unknown => isObject(value) && typeof value.toJSON === 'function' ? formOf(value as { toJSON: () => unknown }) : value

/** A copy of the whole value, in the form that JSON writes now. */
function snapshot (value: unknown): unknown {
  if (!isObject(value)) return value
  const text = JSON.stringify(value) as string | undefined
  if (text === undefined) return undefined
  assertJsonForm(value, text)
  return JSON.parse(text)
}

// Keywords that say nothing about the contents of a value.
const SILENT = new Set(['$id', '$schema', '$comment', '$defs', 'definitions', 'title', 'description', 'default', 'examples', 'deprecated', 'readOnly', 'writeOnly'])

/** Compiles the taker of a schema. Throws for a type that JSON has no form for; the message names the place. */
export function partTakerOf (schema: Subschema, compile: (branch: Subschema) => Fits): PartTaker {
  const generator = new Generator(compile)
  const root = generator.take([schema], false)
  const code = `'use strict'
const { NOTHING, Bare, everything, snapshot, formOf, own, merge, put } = helpers
const same = v => v
let missed = false
${[...generator.functions].join('\n')}
return { take (v) { missed = false; return ${root!}(v) }, missed: () => missed, open: ${generator.open} }`
  // TypeBox and the serialiser compile in the same way.
  // eslint-disable-next-line no-new-func
  return (new Function('helpers', 'given', code) as (helpers: object, given: unknown[]) => PartTaker)({ NOTHING, Bare, everything, snapshot, formOf, own, merge, put }, generator.given)
}

class Generator {
  readonly functions: string[] = []
  readonly given: unknown[] = []
  open = false
  readonly #compile: (branch: Subschema) => Fits
  readonly #ids = new Map<unknown, number>()
  readonly #names = new Map<string, string | undefined>()

  constructor (compile: (branch: Subschema) => Fits) {
    this.#compile = compile
  }

  /**
   * The name of the function that takes the properties that these declare; undefined where they add none to the others.
   */
  take (schemas: Subschema[], beside: boolean): string | undefined {
    const parts = flat(schemas)
    const key = `${parts.map(({ node }) => this.#id(node)).sort().join()} ${beside}`
    if (this.#names.has(key)) return this.#names.get(key)
    parts.forEach(assertJson)
    const shape = shapeOf(parts)
    const name = isBare(shape) ? beside ? undefined : this.#whole(parts) : !admits(parts, 'object') && !admits(parts, 'array') ? 'same' : `take${this.#names.size}`
    this.#names.set(key, name)
    if (name?.startsWith('take') === true) {
      const at = this.functions.push('') - 1
      this.functions[at] = this.#body(name, shape)
    } else {
      // Inside a text or a number nothing is declared, but all types must have a form in JSON.
      for (const branch of shape.unions.flat()) this.take([branch], true)
    }
    return name
  }

  #id (node: unknown): number {
    const id = this.#ids.get(node) ?? this.#ids.size
    this.#ids.set(node, id)
    return id
  }

  #give (value: unknown): string {
    return `given[${this.given.push(value) - 1}]`
  }

  /** A pattern, compiled as the check compiles it. */
  #pattern (pattern: string, { home }: Subschema): string {
    return this.#give(new RegExp(pattern, home.plain ? 'u' : ''))
  }

  /** For a value of which everything is declared. A value that is checked in depth must not change afterwards. */
  #whole (parts: Subschema[]): string {
    const asIs = parts.every(({ node }) => !isNode(node) || Object.keys(node).every(key => SILENT.has(key)))
    this.open ||= asIs
    return asIs ? 'everything' : 'snapshot'
  }

  #body (name: string, shape: Shape): string {
    return `function ${name} (v) {
  if (typeof v !== 'object' || v === null) return v
  if (typeof v.toJSON === 'function') {
    v = formOf(v)
    if (typeof v !== 'object' || v === null) return v
  }
  if (Array.isArray(v)) {
    ${this.#contents(shape, 'array')}
  }
  ${this.#contents(shape, 'object')}
}`
  }

  #contents (shape: Shape, kind: 'array' | 'object'): string {
    const { parts, unions, conditions } = shape
    if (!admits(parts, kind)) return 'return v'
    const own = kind === 'object' ? shape.objects ? this.#object(shape) : undefined : shape.items.length > 0 ? this.#array(shape) : undefined
    const beside = own !== undefined || unions.length > 1 || parts.some(({ node }) => isNode(node) && node.allOf !== undefined)
    const more = [...unions.map(branches => this.#union(branches, kind, beside)), ...conditions.map(part => this.#condition(part, kind))]
    if (own === undefined && more.every(code => code === '')) return kind === 'object' && parts.some(({ node }) => isNode(node) && node.type !== undefined) && unions.length === 0 ? 'return {}' : `return ${this.#whole(parts)}(v)`
    if (more.length === 0) return `${own!}\n  return o`
    return `${own ?? ''}\n  let r = ${own === undefined ? 'NOTHING' : 'o'}\n  ${more.join('\n')}\n  return r === NOTHING ? ${kind === 'object' ? '{}' : '[]'} : r`
  }

  /** The code for a value that is read once. */
  #value (schemas: Subschema[], read: string): string {
    const name = this.take(schemas, false)
    return name === 'same' ? read : `${name!}(${read})`
  }

  #object (shape: Shape): string {
    const { names, required, others, closed } = shape
    // A null prototype: a property such as `toString` is otherwise present in every object.
    const bare = others.length > 0 || [...names.keys()].some(name => name in Object.prototype)
    const lines = [bare ? 'const o = new Bare()' : '']
    const literal: string[] = []
    for (const [name, schemas] of names) {
      const key = JSON.stringify(name)
      const read = name in Object.prototype ? `own(v, ${key})` : `v[${key}]`
      if (!bare && required.has(name) && lines.length === 1) literal.push(`${key}: ${this.#value(schemas, read)}`)
      else lines.push(`{ const x = ${read}; if (x !== undefined) o[${key}] = ${this.#value(schemas, 'x')} }`)
    }
    if (!bare) lines[0] = `const o = { ${literal.join(', ')} }`
    if (others.length > 0 || closed) lines.push(this.#others(shape))
    return lines.join('\n  ')
  }

  /** The properties that are not declared by their names. */
  #others ({ names, others, closed }: Shape): string {
    const [only] = others
    const every = others.length === 1 && this.#matches(only!) === '' ? this.#value([only!.schema], 'x') : undefined
    const cases = every !== undefined ? [] : others.map(other => `if (true${this.#matches(other)}) r = merge(r, ${this.#value([other.schema], 'x')})`)
    const merged = `let r = NOTHING
    ${cases.join('\n    ')}
    ${closed ? 'o[k] = r === NOTHING ? x : r' : 'if (r !== NOTHING) o[k] = r'}`
    const take = every === undefined ? merged : `o[k] = ${every}`
    return `for (const k of Object.keys(v)) {
    ${names.size === 0 ? '' : `switch (k) { ${[...names.keys()].map(name => `case ${JSON.stringify(name)}:`).join(' ')} continue }`}
    const x = v[k]
    ${others.length === 0 ? 'put(o, k, x)' : take}
  }`
  }

  /** The code that asks whether a key is one of these; none where all are. */
  #matches ({ pattern, except, schema }: Shape['others'][number]): string {
    if (pattern === EVERY_KEY) return ''
    if (pattern !== undefined) return ` && ${this.#pattern(pattern, schema)}.test(k)`
    return except.map(other => ` && !${this.#pattern(other, schema)}.test(k)`).join('')
  }

  #array ({ items }: Shape): string {
    const lists = items.map(part => (part.node as Node).items)
    const length = Math.max(0, ...lists.map(list => Array.isArray(list) ? list.length : 0))
    const at = (i: number): Subschema[] => items.flatMap((part, n) => {
      const list = lists[n]
      if (!Array.isArray(list)) return [part.child('items', undefined, 0)]
      if (i < list.length) return [part.child('items', i, i)]
      return isNode((part.node as Node).additionalItems) || (part.node as Node).additionalItems === true ? [part.child('additionalItems', undefined, i)] : []
    })
    const rest = at(length)
    const refuses = items.some(({ node }) => (node as Node).additionalItems === false)
    const more = rest.length > 0 ? this.#value(rest, 'v[i]') : refuses ? 'v[i]' : undefined
    return `const n = ${more === undefined ? `Math.min(v.length, ${length})` : 'v.length'}
  const o = new Array(n)
  for (let i = 0; i < n; i++) o[i] = ${Array.from({ length }, (_, i) => `i === ${i} ? ${this.#value(at(i), 'v[i]')} : `).join('')}${more ?? 'undefined'}`
  }

  /** The properties that any fitting branch declares: a value may fit several branches. */
  #union (branches: Subschema[], kind: 'array' | 'object', beside: boolean): string {
    const named = branches.map(branch => ({ branch, name: this.take([branch], beside), bare: isBare(shapeOf(flat([branch]))) }))
    const able = named.filter(({ branch, name }) => name !== undefined && admits(flat([branch]), kind))
    const skipped = named.some(({ name }) => name === undefined)
    if (able.length === 0) return ''
    // The value is checked as a whole later: where only one branch can fit, it is taken.
    if (able.length === 1 && !skipped) return `r = merge(r, ${able[0]!.name!}(v))`
    const tags = kind === 'object' && !skipped ? tagsOf(able.map(({ branch }) => branch)) : undefined
    if (tags !== undefined) return this.#tagged(tags.name, able.map(({ name }, i) => [tags.values[i], name!]))
    const tries = able.sort((a, b) => Number(b.bare) - Number(a.bare)).map(({ branch, name, bare }) => `missed = false
    p = ${name!}(v)
    if (!missed && ${this.#give(this.#compile(branch))}(p)) {
      ${bare ? 'missed = before\n      return p' : 'hit = true\n      r = merge(r, p)'}
    }`)
    return `{
    const before = missed
    let hit = ${skipped}
    let p
    ${tries.join('\n    ')}
    missed = before || !hit
  }`
  }

  /** The branch is known by a tag. The taken part has to have the same one: a property may have another value when it is read again. */
  #tagged (property: string, branches: Array<[tag: unknown, name: string]>): string {
    const key = JSON.stringify(property)
    const cases = branches.map(([tag, name]) => `case ${JSON.stringify(tag)}: {
      const p = ${name}(v)
      if (p?.[${key}] === ${JSON.stringify(tag)}) r = merge(r, p)
      else missed = true
      break
    }`)
    return `switch (v[${key}]) {
    ${cases.join('\n    ')}
    default: missed = true
  }`
  }

  #condition (part: Subschema, kind: 'array' | 'object'): string {
    const branch = (keyword: string): string => {
      if (!isNode((part.node as Node)[keyword])) return ''
      const then = part.child(keyword)
      const name = this.take([then], true)
      return name === undefined || !admits(flat([then]), kind) ? '' : `r = merge(r, ${name}(v))`
    }
    return `if (${this.#give(this.#compile(part.child('if')))}(v)) { ${branch('then')} } else { ${branch('else')} }`
  }
}
