import type { Node } from './json-schema.ts'

/** In the place of a part of which nothing is declared. */
export const NOTHING = Symbol('nothing')
const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

/**
 * Makes an object that inherits nothing but an empty one: only so is a property absent that all objects have. One without any prototype
 * would be a hash table, which is slow to fill and to read.
 */
export const Bare = function () {} as unknown as new () => Node
Bare.prototype = Object.create(null) as object

/** Sets a property of an ordinary object, whatever its name. */
export function put (object: Node, name: string, value: unknown): void {
  if (name === '__proto__') Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true })
  else object[name] = value
}

export const own = (value: object, name: string): unknown => Object.hasOwn(value, name) ? (value as Node)[name] : undefined

/** What two branches of a union declare of the same value. */
export function merge (one: unknown, two: unknown): unknown {
  if (one === NOTHING || one === undefined) return two
  if (!isObject(one) || !isObject(two) || one === two) return one
  if (Array.isArray(one) && Array.isArray(two)) return Array.from({ length: Math.max(one.length, two.length) }, (_, i): unknown => i in one ? merge(one[i], two[i]) : two[i])
  const both = Object.assign(new Bare(), one)
  for (const name of Object.keys(two)) both[name] = name in both ? merge(both[name], two[name]) : two[name]
  return both
}
