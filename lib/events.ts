import type { TSchema } from '@sinclair/typebox'
import { encodeComment, encodeControl, encodeData, encodeName, encodePosition, isName } from './encode.ts'
import { FST_SSE_DATA, FST_SSE_EVENT, FST_SSE_FIELD, FST_SSE_MAP, FST_SSE_PUBLISH, FST_SSE_SCHEMA, FST_SSE_UNKNOWN_EVENT, shown } from './errors.ts'
import { messageOf } from './thrown.ts'
import { FREE } from './fingerprint.ts'
import { assertFields } from './foreign.ts'
import type { CompiledSchema } from './schema.ts'
import { attempt, serialise } from './serialise.ts'

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

type Letter = 'a' | 'b' | 'c' | 'd' | 'e' | 'f' | 'g' | 'h' | 'i' | 'j' | 'k' | 'l' | 'm' | 'n' | 'o' | 'p' | 'q' | 'r' | 's' | 't' | 'u' | 'v' | 'w' | 'x' | 'y' | 'z' | '_'
type After<Start extends string, But extends string = never> = `${Start}${Exclude<Letter, But>}${string}`

/**
 * Names that are no fields of an event, by their first letters. The compiler checks unknown keys of a literal, but not
 * those of a variable of a wider type. A longer list would cost more compile time than it finds mistakes.
 */
type Foreign = After<'', 'c' | 'd' | 'e' | 'i' | 'r'> | After<'c', 'o'> | After<'co', 'm'> | After<'com', 'm'> | After<'d', 'a'> | After<'da', 't'> |
  After<'dat', 'a'> | After<'e', 'v'> | After<'i', 'd'> | After<'id'> | After<'r', 'e'> | After<'re', 't'>

type NoForeign = { [K in Foreign]?: never }

// An interface has a name, which the compiler shows in its message.
interface NoOtherKeys extends NoForeign {}

/**
 * No event of the application. A comment and a reconnection delay are frames without data, which no client dispatches.
 * A position goes out as the reserved event `sse.position` with empty data, which no page listens to: Firefox and
 * WebKit keep no id of a frame without data, as WHATWG HTML §9.2.6 would have it. A chunk of a foreign stream, with an
 * `id` and other keys, is not a control frame: `asData(source)` makes events of such chunks.
 */
export type ControlEvent = NoOtherKeys & (
  | { comment: string, id?: undefined, retry?: undefined, event?: undefined, data?: undefined }
  | { id: string | number, retry?: number | undefined, comment?: undefined, event?: undefined, data?: undefined }
  | { retry: number, id?: undefined, comment?: undefined, event?: undefined, data?: undefined }
)

/** Why a position could not be honoured. */
export type ResetReason = 'malformed' | 'unknown' | 'evicted' | 'ahead'

/** What this package says itself to those who follow a channel. `channel` is its name, where a stream follows several. */
export type SystemEvent =
  | (Position & { event: 'sse.reset', data: { reason: ResetReason, oldest: number, newest: number, channel?: string }, comment?: undefined })
  | (Position & { event: 'sse.gap', data: { dropped: number, channel?: string }, comment?: undefined })

/** Any event: what a route without `schema.sse` takes. */
export type AnyEvent = ControlEvent | (Position & { event?: string | undefined, data: unknown, comment?: undefined })

/** The events of a type of payloads by name; any event where the names are known only at run time. */
export type EventOfPayloads<P> = string extends keyof P ? AnyEvent : ControlEvent | SystemEvent | {
  [K in keyof P & string]: Position & (K extends 'message' ? { event?: K | undefined } : { event: K }) & { data: P[K], comment?: undefined }
}[keyof P & string]

/** What a route with this map may send: the type of a generator is `AsyncGenerator<EventOf<typeof events>>`. */
export type EventOf<M extends EventMap> = EventOfPayloads<{ [K in keyof M]: (M[K] & { params: [] })['static'] }>

/** What a channel with this map takes: its position is the channel's to give. */
export type PublishedOf<M extends EventMap> = string extends keyof M ? { event?: string | undefined, data: unknown } : {
  [K in keyof M & string]: (K extends 'message' ? { event?: K | undefined } : { event: K }) & { data: (M[K] & { params: [] })['static'] }
}[keyof M & string]

/** What those who follow it get, with its position. It is one object for all of them, frozen. */
export type ReceivedOf<M extends EventMap> = string extends keyof M ? { readonly event: string, readonly data: unknown, readonly id: string } : {
  [K in keyof M & string]: { readonly event: K, readonly data: (M[K] & { params: [] })['static'], readonly id: string }
}[keyof M & string]

/** What a loop gets beside the events of the channel: what this package says, and the error that a channel ends with whose map declares none. */
export type SystemReceived<M extends EventMap = EventMap> =
  | ('error' extends keyof M ? never : { readonly event: 'error', readonly data: unknown, readonly id: string })
  | { readonly event: 'sse.reset', readonly data: Extract<SystemEvent, { event: 'sse.reset' }>['data'], readonly id: string }
  | { readonly event: 'sse.gap', readonly data: Extract<SystemEvent, { event: 'sse.gap' }>['data'], readonly id: string }

/** A checked and written event without a position. `fingerprint`: the schema's; undefined where that is unknown. */
export interface WrittenEvent { event: string, data: string, json: boolean, fingerprint?: string | undefined }

/** Makes frames of events; throws a coded error and makes nothing of what cannot be sent. */
export interface Contract {
  frame: (event: unknown) => string
  /** For a log: an event with data. */
  write: (event: unknown) => WrittenEvent
  /** Whether the same schema wrote the entry, in this process or in another. */
  wrote: (written: Readonly<WrittenEvent>) => boolean
  declares: (event: AnyEvent) => boolean
  /** Whether every event of a channel with that map is one of this contract's, with the same schema; also the `error` that it may end with. */
  covers: (map: EventMap | undefined) => boolean
}

interface Incoming {
  event?: unknown
  data?: unknown
  id?: string | number | undefined
  retry?: number | undefined
  comment?: string | undefined
}

// Event names with this prefix are reserved for the package.
const RESERVED = 'sse.'
// Channels send these through any route.
const SYSTEM: readonly string[] = ['sse.reset', 'sse.gap'] satisfies Array<SystemEvent['event']>
const SYSTEM_FIELDS = ['reason', 'oldest', 'newest', 'dropped', 'channel']

/** The event, whose fields are still to be checked. FST_SSE_EVENT for what is none, with a hint for a foreign chunk. */
export function asEvent (event: unknown): Incoming {
  if (typeof event !== 'object' || event === null || Array.isArray(event)) throw new FST_SSE_EVENT(shown(event))
  assertFields(event)
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

/** A frame: comment, name, id and retry, data. */
function assemble ({ comment, id, retry }: Incoming, prefix: string, data: string): string {
  const position = id === undefined && retry === undefined ? '' : encodePosition(id, retry)
  return (comment === undefined ? '' : encodeComment(comment)) + prefix + position + encodeData(data)
}

/** An event of a channel: what only the channel may say is not in it, nor what says nothing to those who follow it. */
function asPublishable (given: unknown): Incoming {
  const isObject = typeof given === 'object' && given !== null && !Array.isArray(given)
  if (isObject) assertFields(given)
  if (!isObject || isControl(given)) throw new FST_SSE_PUBLISH(`expected { data, event? }, got ${shown(given)}`)
  const event: Incoming = given
  if (typeof event.event === 'string' && event.event.startsWith(RESERVED)) throw new FST_SSE_PUBLISH(`the name ${shown(event.event)} is reserved`)
  for (const field of ['id', 'retry', 'comment'] as const) {
    if (event[field] !== undefined) throw new FST_SSE_PUBLISH(`'${field}' is not for an event of a channel`)
  }
  return event
}

function writeFree (event: Incoming): WrittenEvent {
  const name = nameOf(event)
  const { data } = event
  assertData(name, data)
  if (typeof data === 'string') return { event: name, data, json: false, fingerprint: FREE }
  return { event: name, data: serialise(name, data), json: true, fingerprint: FREE }
}

/** The contract of a route without `schema.sse`: strings as they are, the rest as JSON. */
export const freeContract: Contract = {
  declares: () => true,
  covers: () => true,
  write (given) {
    const written = writeFree(asPublishable(given))
    encodeName(written.event)
    return written
  },
  // No map of this process declares the name.
  wrote: ({ event, fingerprint }) => fingerprint === FREE && isName(event),
  frame (given) {
    const event = asEvent(given)
    if (isControl(event)) return encodeControl(event)
    const written = writeFree(event)
    if (written.event !== 'message' && written.event.startsWith(RESERVED) && !SYSTEM.includes(written.event)) throw new FST_SSE_FIELD('event', `a name that does not begin with '${RESERVED}'`, shown(written.event))
    return assemble(event, encodeName(written.event), written.data)
  }
}

/** No map declares them, and still nothing else leaves with them. */
function frameSystem (event: Incoming): string {
  const name = nameOf(event)
  assertData(name, event.data)
  return assemble(event, encodeName(name), JSON.stringify(event.data, SYSTEM_FIELDS))
}

/**
 * The contract of an event map. What is wrong with the map itself is thrown now, at start-up,
 * naming the place (`GET /orders`), the event and the reason.
 */
export function compileContract (map: unknown, place: string, compile: (schema: TSchema) => CompiledSchema): Contract {
  if (typeof map !== 'object' || map === null || Array.isArray(map)) throw new FST_SSE_MAP(place, `got ${shown(map)}`)
  const declared = new Map<string, CompiledSchema & { schema: unknown, prefix: string }>()
  for (const [name, schema] of Object.entries(map)) {
    if (name === '' || name.startsWith(RESERVED)) throw new FST_SSE_MAP(place, `the name ${shown(name)} is reserved`)
    if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) throw new FST_SSE_MAP(place, `the event '${name}' has ${shown(schema)}`)
    try {
      declared.set(name, { ...compile(schema), schema, prefix: encodeName(name) })
    } catch (cause) {
      const error = new FST_SSE_SCHEMA(place, name, messageOf(cause))
      error.cause = cause
      throw error
    }
  }
  if (declared.size === 0) throw new FST_SSE_MAP(place, 'it declares no event')

  const write = (event: Incoming): WrittenEvent & { prefix: string } => {
    const name = nameOf(event)
    const known = declared.get(name)
    if (known === undefined) throw new FST_SSE_UNKNOWN_EVENT(name, [...declared.keys()].join(', '))
    const { data } = event
    const text = known.textual ? known.check(data) ? data as string : undefined : attempt(known.write, name, data)
    if (text === undefined) {
      assertData(name, data)
      const { path, message } = known.explain(data)
      throw new FST_SSE_DATA(name, path, message)
    }
    return { event: name, data: text, json: !known.textual, fingerprint: known.fingerprint, prefix: known.prefix }
  }

  return {
    declares: event => declared.has(nameOf(event)),
    covers: other => other !== undefined && Object.entries(other).every(([name, schema]) => declared.get(name)?.schema === schema) &&
      (!declared.has('error') || Object.hasOwn(other, 'error')),
    write (given) {
      const { prefix: _, ...written } = write(asPublishable(given))
      return written
    },
    wrote ({ event, fingerprint }) {
      const known = declared.get(event)
      return known !== undefined && known.fingerprint === fingerprint
    },
    frame (given) {
      const event = asEvent(given)
      if (isControl(event)) return encodeControl(event)
      if (SYSTEM.includes(event.event as string)) return frameSystem(event)
      const { prefix, data } = write(event)
      return assemble(event, prefix, data)
    }
  }
}
