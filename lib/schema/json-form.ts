import { types } from 'node:util'
import { describe } from '../errors.ts'

const [CLOSING, QUOTE, ZERO, LETTER_T] = [...'}"0t'].map(character => character.charCodeAt(0)) as [number, number,
  number, number]
const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

/**
 * Whether JSON loses the contents of a value. JSON writes bytes as an object of numbers, and a map, a set or a promise
 * without `await` as `{}`. A map, set or promise with its own `toJSON` has a form.
 */
export function lacksJsonForm (value: unknown): boolean {
  // Almost every value is one of these: the calls of V8 below are skipped.
  if (!isObject(value) || Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype) return false
  if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) return true
  const isLost = types.isMap(value) || types.isSet(value) || types.isPromise(value) || types.isWeakMap(value) ||
    types.isWeakSet(value)
  return isLost && typeof (value as { toJSON?: unknown }).toJSON !== 'function'
}

/** Returns the first value without a JSON form inside `value`. `text` is its JSON; most texts need no search. */
export function findWithoutJsonForm (value: unknown, text: string): object | undefined {
  return isSuspect(text) ? find(value) : undefined
}

/**
 * Whether a text has an object that is empty, has the key `0`, or begins as a Buffer does. One pass: it reads the
 * characters after each brace.
 */
function isSuspect (text: string): boolean {
  for (let at = text.indexOf('{'); at !== -1; at = text.indexOf('{', at + 1)) {
    const next = text.charCodeAt(at + 1)
    if (next === CLOSING) return true
    if (next !== QUOTE) continue
    const first = text.charCodeAt(at + 2)
    if (first === ZERO
      ? text.charCodeAt(at + 3) === QUOTE
      : first === LETTER_T && text.startsWith('{"type":"Buffer"', at)) return true
  }
  return false
}

/** Throws a TypeError if `findWithoutJsonForm` finds a value, or if the text is not JSON. */
export function assertJsonForm (value: unknown, text: string): void {
  const lost = findWithoutJsonForm(value, text)
  if (lost !== undefined) throw new TypeError(`JSON has no form for ${describe(lost)}`)
  // The compiled writer writes a function or a symbol as `undefined`.
  if (text.includes('undefined') && !isJson(text)) throw new TypeError('JSON has no form for a function or a symbol')
}

export function isJson (text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function find (value: unknown): object | undefined {
  if (!isObject(value)) return undefined
  if (lacksJsonForm(value)) return value
  for (const key in value) {
    const found = find((value as Record<string, unknown>)[key])
    if (found !== undefined) return found
  }
  return undefined
}
