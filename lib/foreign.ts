import { FST_SSE_EVENT, shown } from './errors.ts'

const HINT = 'send it as { data: … }, or make events of a whole source with asData(source)'

/** An object of a literal, of JSON or without a prototype, of this realm or of another: no instance of a class. */
export function isPlain (value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null || Object.getPrototypeOf(prototype) === null
}

/**
 * FST_SSE_EVENT for a foreign chunk, which is no event, even with an `id`. A key with the value undefined does not
 * count, nor does a symbol. An instance of a class keeps values that its keys do not show: without `data` it is no
 * control frame.
 */
export function assertFields (event: object): void {
  // V8 keeps the list of keys for a shape that it knows.
  for (const key in event) {
    if (key === 'data' || key === 'event' || key === 'id' || key === 'retry' || key === 'comment') continue
    if ((event as Record<string, unknown>)[key] === undefined) continue
    throw new FST_SSE_EVENT(`${shown(event)} with the key ${JSON.stringify(key.slice(0, 40))}: ${HINT}`)
  }
  if ('data' in event) return
  const { id, retry, comment } = event as { id?: unknown, retry?: unknown, comment?: unknown }
  if ((id ?? retry ?? comment) === undefined || isPlain(event)) return
  throw new FST_SSE_EVENT(`${shown(event)} without data: ${HINT}`)
}
