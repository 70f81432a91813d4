import { types } from 'node:util'
import { shown } from './errors.ts'

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

/**
 * Whether JSON loses the contents: it writes bytes as an object of numbers, and a map, a set or a promise without
 * `await` as `{}`. A map, set or promise with its own `toJSON` has a form.
 */
export function isFormless (value: unknown): boolean {
  if (!isObject(value)) return false
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) return true
  const isLost = types.isMap(value) || types.isSet(value) || types.isPromise(value) || types.isWeakMap(value) || types.isWeakSet(value)
  return isLost && typeof (value as { toJSON?: unknown }).toJSON !== 'function'
}

/** The first value without a form, inside the value with this JSON text. For most texts no search is needed. */
export function formlessIn (value: unknown, text: string): object | undefined {
  if (!text.includes('{}') && !text.includes('{"0":') && !text.includes('"type":"Buffer"')) return undefined
  return find(value)
}

/** Throws where `formlessIn` finds a value. */
export function assertForm (value: unknown, text: string): void {
  const formless = formlessIn(value, text)
  if (formless !== undefined) throw new TypeError(`JSON has no form for ${shown(formless)}`)
}

function find (value: unknown): object | undefined {
  if (isFormless(value)) return value as object
  if (!isObject(value)) return undefined
  for (const inner of Object.values(value)) {
    const found = find(inner)
    if (found !== undefined) return found
  }
  return undefined
}
