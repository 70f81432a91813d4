import { types } from 'node:util'
import { shown } from './errors.ts'

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

/**
 * Bytes, which JSON spells out number by number, and what it writes as `{}`, whatever is in it: a map, a set, a promise without its await.
 * One of these with a `toJSON` of its own has a form.
 */
export function isFormless (value: unknown): boolean {
  if (!isObject(value)) return false
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) return true
  const isLost = types.isMap(value) || types.isSet(value) || types.isPromise(value) || types.isWeakMap(value) || types.isWeakSet(value)
  return isLost && typeof (value as { toJSON?: unknown }).toJSON !== 'function'
}

/** The first value without a form, in what was written as this text. Most texts show that there is none. */
export function formlessIn (value: unknown, text: string): object | undefined {
  if (!text.includes('{}') && !text.includes('{"0":') && !text.includes('"type":"Buffer"')) return undefined
  return find(value)
}

/** Throws for what `formlessIn` finds. */
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
