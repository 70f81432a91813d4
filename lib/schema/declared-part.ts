import { EVERY_KEY, isSchemaNode, type SchemaNode } from './json-schema.ts'
import * as runtime from './part-runtime.ts'
import { admits, assertJsonTypes, flatten, declaresNothing, toShape, findTag, type Shape } from './shape.ts'
import type { Subschema } from './subschema.ts'

/**
 * Extracts the declared part of a value: leaves out undeclared properties, reads each declared property once, and
 * returns plain data.
 */
export interface PartExtractor {
  extract: (value: unknown) => unknown
  /** Whether the last value matched no branch of some union. */
  hasMismatch: () => boolean
  /** Whether some subschema passes any value unchanged. */
  readonly passesAnyValue: boolean
}

type Check = (part: unknown) => boolean

// Keywords that do not constrain a value.
const ANNOTATIONS = new Set(['$id', '$schema', '$comment', '$defs', 'definitions', 'title', 'description', 'default',
  'examples', 'deprecated', 'readOnly', 'writeOnly'])

/** Compiles the extractor of a schema. Throws for a type that JSON has no form for; the message names the place. */
export function compileExtractor (schema: Subschema, compile: (branch: Subschema) => Check): PartExtractor {
  const generator = new CodeGenerator(compile)
  const root = generator.generate([schema], false)
  const code = `'use strict'
const { NOTHING, Dictionary, wholeValue, copyAsJson, toJsonValue, ownProperty, mergeParts, setProperty } = runtime
const identity = v => v
let mismatch = false
${[...generator.functions].join('\n')}
return { extract (v) { mismatch = false; return ${root!}(v) }, hasMismatch: () => mismatch, passesAnyValue: ${generator.passesAnyValue} }`
  // TypeBox and the serializer compile in the same way.
  // eslint-disable-next-line no-new-func
  return (new Function('runtime', 'constants', code) as (from: object, constants: unknown[]) => PartExtractor)(runtime,
    generator.constants)
}

/** Generates the code of an extractor: one function for each combination of subschemas. */
class CodeGenerator {
  readonly functions: string[] = []
  /** Values that the code refers to by their index. */
  readonly constants: unknown[] = []
  passesAnyValue = false
  readonly #compile: (branch: Subschema) => Check
  readonly #ids = new Map<unknown, number>()
  readonly #names = new Map<string, string | undefined>()

  constructor (compile: (branch: Subschema) => Check) {
    this.#compile = compile
  }

  /**
   * Generates the function that extracts the properties that the schemas declare, and returns its name. If the result
   * is an addition to other parts and the schemas declare nothing, then it returns undefined.
   */
  generate (schemas: Subschema[], isAddition: boolean): string | undefined {
    const parts = flatten(schemas)
    const key = `${parts.map(({ node }) => this.#id(node)).sort().join()} ${isAddition}`
    if (this.#names.has(key)) return this.#names.get(key)
    parts.forEach(assertJsonTypes)
    const shape = toShape(parts)
    const name = declaresNothing(shape)
      ? isAddition ? undefined : this.#whole(parts)
      : !admits(parts, 'object') && !admits(parts, 'array')
          ? 'identity'
          : `extract${this.#names.size}`
    this.#names.set(key, name)
    if (name?.startsWith('extract') === true) {
      const index = this.functions.push('') - 1
      this.functions[index] = this.#body(name, shape)
    } else {
      // A string or a number declares no properties, but each of its types must have a form in JSON.
      for (const branch of shape.unions.flat()) this.generate([branch], true)
    }
    return name
  }

  #id (node: unknown): number {
    const id = this.#ids.get(node) ?? this.#ids.size
    this.#ids.set(node, id)
    return id
  }

  #constant (value: unknown): string {
    return `constants[${this.constants.push(value) - 1}]`
  }

  /** Returns a pattern as a constant, compiled as the schema check compiles it. */
  #pattern (pattern: string, { resource }: Subschema): string {
    return this.#constant(new RegExp(pattern, resource.checkedByAjv ? 'u' : ''))
  }

  /**
   * Returns the function for a value with declared properties only. A value that is checked in depth must not change
   * after the check.
   */
  #whole (parts: Subschema[]): string {
    const unchecked = parts.every(({ node }) =>
      !isSchemaNode(node) || Object.keys(node).every(key => ANNOTATIONS.has(key))
    )
    this.passesAnyValue ||= unchecked
    return unchecked ? 'wholeValue' : 'copyAsJson'
  }

  #body (name: string, shape: Shape): string {
    return `function ${name} (v) {
  if (typeof v !== 'object' || v === null) return v
  if (typeof v.toJSON === 'function') {
    v = toJsonValue(v)
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
    const own = kind === 'object'
      ? shape.objects ? this.#object(shape) : undefined
      : shape.items.length > 0
        ? this.#array(shape)
        : undefined
    const isAddition = own !== undefined || unions.length > 1 ||
      parts.some(({ node }) => isSchemaNode(node) && node.allOf !== undefined)
    const more = [...unions.map(branches => this.#union(branches, kind, isAddition)),
      ...conditions.map(part => this.#condition(part, kind))]
    if (own === undefined && more.every(code => code === '')) {
      return kind === 'object' && parts.some(({ node }) => isSchemaNode(node) && node.type !== undefined) &&
          unions.length === 0
        ? 'return {}'
        : `return ${this.#whole(parts)}(v)`
    }
    if (more.length === 0) return `${own!}\n  return o`
    return `${own ?? ''}\n  let r = ${own === undefined ? 'NOTHING' : 'o'}\n  ${
      more.join('\n')
    }\n  return r === NOTHING ? ${kind === 'object' ? '{}' : '[]'} : r`
  }

  /** Generates the code for a value that the extractor reads once. */
  #value (schemas: Subschema[], read: string): string {
    const name = this.generate(schemas, false)
    return name === 'identity' ? read : `${name!}(${read})`
  }

  #object (shape: Shape): string {
    const { names, required, others, closed } = shape
    // A dictionary: any other object has inherited properties such as `toString`.
    const usesDictionary = others.length > 0 || [...names.keys()].some(name => name in Object.prototype)
    const lines = [usesDictionary ? 'const o = new Dictionary()' : '']
    const literal: string[] = []
    for (const [name, schemas] of names) {
      const key = JSON.stringify(name)
      const read = name in Object.prototype ? `ownProperty(v, ${key})` : `v[${key}]`
      if (!usesDictionary && required.has(name) && lines.length === 1) {
        literal.push(`${key}: ${this.#value(schemas, read)}`)
      } else lines.push(`{ const x = ${read}; if (x !== undefined) o[${key}] = ${this.#value(schemas, 'x')} }`)
    }
    if (!usesDictionary) lines[0] = `const o = { ${literal.join(', ')} }`
    if (others.length > 0 || closed) lines.push(this.#others(shape))
    return lines.join('\n  ')
  }

  /** Generates the code for properties that are not declared by name. */
  #others ({ names, others, closed }: Shape): string {
    const [only] = others
    const every = others.length === 1 && this.#matches(only!) === '' ? this.#value([only!.schema], 'x') : undefined
    const cases = every !== undefined
      ? []
      : others.map(other => `if (true${this.#matches(other)}) r = mergeParts(r, ${this.#value([other.schema], 'x')})`)
    const merged = `let r = NOTHING
    ${cases.join('\n    ')}
    ${closed ? 'o[k] = r === NOTHING ? x : r' : 'if (r !== NOTHING) o[k] = r'}`
    const assign = every === undefined ? merged : `o[k] = ${every}`
    return `for (const k of Object.keys(v)) {
    ${
      names.size === 0
        ? ''
        : `switch (k) { ${[...names.keys()].map(name => `case ${JSON.stringify(name)}:`).join(' ')} continue }`
    }
    const x = v[k]
    ${others.length === 0 ? 'setProperty(o, k, x)' : assign}
  }`
  }

  /** Generates the condition that a key matches; empty if all keys match. */
  #matches ({ pattern, except, schema }: Shape['others'][number]): string {
    if (pattern === EVERY_KEY) return ''
    if (pattern !== undefined) return ` && ${this.#pattern(pattern, schema)}.test(k)`
    return except.map(other => ` && !${this.#pattern(other, schema)}.test(k)`).join('')
  }

  #array ({ items }: Shape): string {
    const lists = items.map(part => (part.node as SchemaNode).items)
    const length = Math.max(0, ...lists.map(list => Array.isArray(list) ? list.length : 0))
    const schemasAt = (i: number): Subschema[] =>
      items.flatMap((part, n) => {
        const list = lists[n]
        if (!Array.isArray(list)) return [part.child('items', undefined, 0)]
        if (i < list.length) return [part.child('items', i, i)]
        return isSchemaNode((part.node as SchemaNode).additionalItems) ||
            (part.node as SchemaNode).additionalItems === true
          ? [part.child('additionalItems', undefined, i)]
          : []
      })
    const rest = schemasAt(length)
    const rejectsMore = items.some(({ node }) => (node as SchemaNode).additionalItems === false)
    const more = rest.length > 0 ? this.#value(rest, 'v[i]') : rejectsMore ? 'v[i]' : undefined
    return `const n = ${more === undefined ? `Math.min(v.length, ${length})` : 'v.length'}
  const o = new Array(n)
  for (let i = 0; i < n; i++) o[i] = ${
      Array.from({ length }, (_, i) => `i === ${i} ? ${this.#value(schemasAt(i), 'v[i]')} : `).join('')
    }${more ?? 'undefined'}`
  }

  /** Generates the code for the properties of all matching branches: a value may match several. */
  #union (branches: Subschema[], kind: 'array' | 'object', isAddition: boolean): string {
    const extractors = branches.map(branch => ({
      branch,
      name: this.generate([branch], isAddition),
      declaresNothing: declaresNothing(toShape(flatten([branch])))
    })
    )
    const candidates = extractors.filter(({ branch, name }) => name !== undefined && admits(flatten([branch]), kind))
    const hasEmpty = extractors.some(({ name }) => name === undefined)
    if (candidates.length === 0) return ''
    // The value is checked as a whole later: if only one branch can match, then no check is needed here.
    if (candidates.length === 1 && !hasEmpty) return `r = mergeParts(r, ${candidates[0]!.name!}(v))`
    const tags = kind === 'object' && !hasEmpty ? findTag(candidates.map(({ branch }) => branch)) : undefined
    if (tags !== undefined) return this.#tagged(tags.name, candidates.map(({ name }, i) => [tags.values[i], name!]))
    const tries = candidates.sort((a, b) => Number(b.declaresNothing) - Number(a.declaresNothing)).map((
      { branch, name, declaresNothing }
    ) =>
      `mismatch = false
    p = ${name!}(v)
    if (!mismatch && ${this.#constant(this.#compile(branch))}(p)) {
      ${declaresNothing ? 'mismatch = before\n      return p' : 'matched = true\n      r = mergeParts(r, p)'}
    }`)
    return `{
    const before = mismatch
    let matched = ${hasEmpty}
    let p
    ${tries.join('\n    ')}
    mismatch = before || !matched
  }`
  }

  /**
   * Selects the branch by a tag. The extracted part must have the same tag: a getter may return another value when it
   * is read again.
   */
  #tagged (property: string, branches: Array<[tag: unknown, name: string]>): string {
    const key = JSON.stringify(property)
    const cases = branches.map(([tag, name]) => `case ${JSON.stringify(tag)}: {
      const p = ${name}(v)
      if (p?.[${key}] === ${JSON.stringify(tag)}) r = mergeParts(r, p)
      else mismatch = true
      break
    }`)
    return `switch (v[${key}]) {
    ${cases.join('\n    ')}
    default: mismatch = true
  }`
  }

  #condition (part: Subschema, kind: 'array' | 'object'): string {
    const branch = (keyword: string): string => {
      if (!isSchemaNode((part.node as SchemaNode)[keyword])) return ''
      const then = part.child(keyword)
      const name = this.generate([then], true)
      return name === undefined || !admits(flatten([then]), kind) ? '' : `r = mergeParts(r, ${name}(v))`
    }
    return `if (${this.#constant(this.#compile(part.child('if')))}(v)) { ${branch('then')} } else { ${branch('else')} }`
  }
}
