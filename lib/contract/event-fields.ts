import { FST_SSE_EVENT, describe } from '../errors.ts'

const HINT = 'send it as { data: … }, or convert the whole source with asData(source)'

/** Whether an object, of any realm, is no instance of a class: a literal, from JSON, or without a prototype. */
export function isPlainObject (value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null || Object.getPrototypeOf(prototype) === null
}

/**
 * Throws FST_SSE_EVENT for an object with other keys than an event has, such as the chunk of another library, also if
 * it has an `id`. Symbols and keys with the value undefined do not count. An instance of a class may hold values that
 * its keys do not show: without `data` it is no control frame.
 */
export function assertFields (event: object): void {
  // V8 caches the list of keys of each hidden class.
  for (const key in event) {
    if (key === 'data' || key === 'event' || key === 'id' || key === 'retry' || key === 'comment') continue
    if ((event as Record<string, unknown>)[key] === undefined) continue
    throw new FST_SSE_EVENT(`${describe(event)} with the key ${JSON.stringify(key.slice(0, 40))}: ${HINT}`)
  }
  if ('data' in event) return
  const { id, retry, comment } = event as { id?: unknown, retry?: unknown, comment?: unknown }
  if ((id ?? retry ?? comment) === undefined || isPlainObject(event)) return
  throw new FST_SSE_EVENT(`${describe(event)} without data: ${HINT}`)
}
