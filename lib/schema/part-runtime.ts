import { assertJsonForm } from './json-form.ts'
import type { SchemaNode } from './json-schema.ts'

// Functions that the generated code of declared-part.ts calls.

/** The result of a part that declares nothing. */
export const NOTHING = Symbol('nothing')
const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null

/**
 * Constructs an object that inherits only from an empty object: names such as `toString` are absent. An object with a
 * null prototype would be a hash table in V8, which is slow to fill and to read.
 */
export const Dictionary = function () {} as unknown as new () => SchemaNode
Dictionary.prototype = Object.create(null) as object

/** Sets a property of an ordinary object under any name. */
export function setProperty (object: SchemaNode, name: string, value: unknown): void {
  if (name === '__proto__') {
    Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true })
  } else object[name] = value
}

export const ownProperty = (value: object, name: string): unknown =>
  Object.hasOwn(value, name) ? (value as SchemaNode)[name] : undefined

/** Merges the parts of one value that two schemas declare. */
export function mergeParts (one: unknown, two: unknown): unknown {
  if (one === NOTHING || one === undefined) return two
  if (!isObject(one) || !isObject(two) || one === two) return one
  if (Array.isArray(one) && Array.isArray(two)) {
    return Array.from({ length: Math.max(one.length, two.length) }, (_, i): unknown =>
      i in one ? mergeParts(one[i], two[i]) : two[i])
  }
  const both = Object.assign(new Dictionary(), one)
  for (const name of Object.keys(two)) both[name] = name in both ? mergeParts(both[name], two[name]) : two[name]
  return both
}

/** Returns the result of a value's `toJSON` as JSON.stringify would use it. */
export function toJsonValue (value: { toJSON: (key: string) => unknown }): unknown {
  // Bytes are rejected later.
  if (ArrayBuffer.isView(value)) return value
  const result = value.toJSON('')
  // JSON.stringify calls `toJSON` only once.
  return isObject(result) && typeof result.toJSON === 'function' ? copyAsJson(value) : result
}

/** Returns the whole value, after its `toJSON`. */
export const wholeValue = (value: unknown): unknown =>
  isObject(value) && typeof value.toJSON === 'function' ? toJsonValue(value as { toJSON: () => unknown }) : value

/** Returns a copy of the whole value in its current JSON form. */
export function copyAsJson (value: unknown): unknown {
  if (!isObject(value)) return value
  const text = JSON.stringify(value) as string | undefined
  if (text === undefined) return undefined
  assertJsonForm(value, text)
  return JSON.parse(text)
}
