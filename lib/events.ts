import type { TSchema } from '@sinclair/typebox'
import { encodeComment, encodeControl, encodeData, encodeName, encodePosition } from './encode.ts'
import { FST_SSE_DATA, FST_SSE_EVENT, FST_SSE_FIELD, FST_SSE_MAP, FST_SSE_SCHEMA, FST_SSE_SERIALIZE, FST_SSE_UNKNOWN_EVENT, shown } from './errors.ts'
import type { CompiledSchema } from './schema.ts'

/**
 * A TypeBox schema by its shape, `static` being the type of its values. A CommonJS program has other declarations
 * of TypeBox than we, whose unique symbols differ from ours.
 */
export interface EventSchema { params: unknown[], static: unknown }

/** The contract of a route: event name → TypeBox schema of `data`. Unnamed events go by `message`. */
export type EventMap = Record<string, EventSchema>

interface Position {
  /** Becomes the client's `Last-Event-ID`. */
  id?: string | number | undefined
  /** Reconnection delay in milliseconds. */
  retry?: number | undefined
}

/** A frame without data: no client dispatches an event for it. */
export type ControlEvent =
  | { comment: string, id?: undefined, retry?: undefined, event?: undefined, data?: undefined }
  | { id: string | number, retry?: number | undefined, comment?: undefined, event?: undefined, data?: undefined }
  | { retry: number, id?: undefined, comment?: undefined, event?: undefined, data?: undefined }

/** Any event: what a route without `schema.sse` takes. */
export type AnyEvent = ControlEvent | (Position & { event?: string | undefined, data: unknown, comment?: undefined })

/** The events of a type of payloads by name; any event where the names are known only at run time. */
export type EventOfPayloads<P> = string extends keyof P ? AnyEvent : ControlEvent | {
  [K in keyof P & string]: Position & (K extends 'message' ? { event?: K | undefined } : { event: K }) & { data: P[K], comment?: undefined }
}[keyof P & string]

/** What a route with this map may send: the type of a generator is `AsyncGenerator<EventOf<typeof events>>`. */
export type EventOf<M extends EventMap> = EventOfPayloads<{ [K in keyof M]: (M[K] & { params: [] })['static'] }>

/** Makes frames of events; throws a coded error and makes nothing of what cannot be sent. */
export interface Contract {
  frame: (event: unknown) => string
  declares: (event: AnyEvent) => boolean
}

interface Incoming {
  event?: unknown
  data?: unknown
  id?: string | number | undefined
  retry?: number | undefined
  comment?: string | undefined
}

function asEvent (event: unknown): Incoming {
  if (typeof event !== 'object' || event === null || Array.isArray(event)) throw new FST_SSE_EVENT(shown(event))
  return event
}

/** An event that carries neither data nor a name; `data: undefined` is a mistake, not an absence. */
function isControl (event: Incoming): boolean {
  return !('data' in event) && event.event === undefined
}

function nameOf (event: Incoming): string {
  const name = event.event
  if (name === undefined || name === '') return 'message'
  if (typeof name !== 'string') throw new FST_SSE_FIELD('event', 'a string', shown(name))
  return name
}

function assertData (name: string, data: unknown): void {
  if (data === undefined) throw new FST_SSE_DATA(name, '/', 'data is missing; a client would never see the event')
}

/** A frame: the precomputed `event:` line, then id and retry, then the data. */
function assemble (prefix: string, event: Incoming, text: string): string {
  const position = event.id === undefined && event.retry === undefined ? '' : encodePosition(event.id, event.retry)
  const comment = event.comment === undefined ? '' : encodeComment(event.comment)
  return comment + prefix + position + encodeData(text)
}

function serialise (write: (data: unknown) => unknown, name: string, data: unknown): string {
  let text: unknown
  try {
    text = write(data)
  } catch (cause) {
    const error = new FST_SSE_SERIALIZE(name, locate(data) || '/', cause instanceof Error ? cause.message : String(cause))
    error.cause = cause
    throw error
  }
  if (typeof text !== 'string') throw new FST_SSE_SERIALIZE(name, '/', `JSON has no form for ${shown(data)}`)
  return text
}

/** JSON pointer of the first value that JSON cannot carry: a BigInt, or an object inside itself. */
function locate (value: unknown, path = '', above: readonly unknown[] = []): string | undefined {
  if (typeof value === 'bigint' || above.includes(value)) return path
  if (typeof value !== 'object' || value === null) return undefined
  for (const [key, inner] of Object.entries(value)) {
    const found = locate(inner, `${path}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`, [...above, value])
    if (found !== undefined) return found
  }
  return undefined
}

/** The contract of a route without `schema.sse`: strings as they are, the rest as JSON. */
export const freeContract: Contract = {
  declares: () => true,
  frame (given) {
    const event = asEvent(given)
    if (isControl(event)) return encodeControl(event)
    const name = nameOf(event)
    assertData(name, event.data)
    const text = typeof event.data === 'string' ? event.data : serialise(JSON.stringify, name, event.data)
    return assemble(encodeName(name), event, text)
  }
}

/**
 * The contract of an event map. What is wrong with the map itself is thrown now, at start-up,
 * naming the place (`GET /orders`), the event and the reason.
 */
export function compileContract (map: unknown, place: string, compile: (schema: TSchema) => CompiledSchema): Contract {
  if (typeof map !== 'object' || map === null || Array.isArray(map)) throw new FST_SSE_MAP(place, `got ${shown(map)}`)
  const declared = new Map<string, CompiledSchema & { prefix: string }>()
  for (const [name, schema] of Object.entries(map)) {
    if (name === '' || name.startsWith('sse.')) throw new FST_SSE_MAP(place, `the name ${shown(name)} is reserved`)
    if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) throw new FST_SSE_MAP(place, `the event '${name}' has ${shown(schema)}`)
    try {
      declared.set(name, { ...compile(schema), prefix: encodeName(name) })
    } catch (cause) {
      const error = new FST_SSE_SCHEMA(place, name, cause instanceof Error ? cause.message : String(cause))
      error.cause = cause
      throw error
    }
  }
  if (declared.size === 0) throw new FST_SSE_MAP(place, 'it declares no event')

  return {
    declares: event => declared.has(nameOf(event)),
    frame (given) {
      const event = asEvent(given)
      if (isControl(event)) return encodeControl(event)
      const name = nameOf(event)
      const known = declared.get(name)
      if (known === undefined) throw new FST_SSE_UNKNOWN_EVENT(name, [...declared.keys()].join(', '))
      const data = event.data
      if (!known.check(data)) {
        assertData(name, data)
        const { path, message } = known.explain(data)
        throw new FST_SSE_DATA(name, path, message)
      }
      return assemble(known.prefix, event, known.textual ? data as string : serialise(known.serialise, name, data))
    }
  }
}
