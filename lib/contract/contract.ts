import { encodeName, isEventName } from '../wire/encode.ts'
import { EVENT_STREAM, type WireFormat } from '../wire/format.ts'
import { GAP_EVENT, RESERVED, RESET_EVENT } from '../wire/protocol.ts'
import {
  FST_SSE_DATA, FST_SSE_EVENT, FST_SSE_FIELD, FST_SSE_MAP, FST_SSE_PUBLISH, FST_SSE_SCHEMA,
  FST_SSE_UNKNOWN_EVENT, describe
} from '../errors.ts'
import { errorMessage } from '../thrown-value.ts'
import { FREE } from '../schema/fingerprint.ts'
import { splitTexts } from '../schema/texts.ts'
import type { CompiledSchema, SchemaCompiler } from '../schema/schema.ts'
import { serializeWith, serialize } from '../schema/serialize.ts'
import { isSchema, vendorName } from '../schema/vendor.ts'
import { assertFields } from './event-fields.ts'
import type { AnyEvent, EventMap, SystemEvent } from './event-types.ts'

/** A checked and serialized event without a position. `fingerprint`: of its schema, undefined if that is unknown. */
export interface SerializedEvent { event: string, data: string, json: boolean, fingerprint?: string | undefined }

/** The compiled map of a route or channel: checks events and serializes them. Throws an error with a code. */
export interface Contract {
  /** Returns the frame of an event; by default of Server-Sent Events. */
  frame: (event: unknown, format?: WireFormat) => string
  /** Returns an event in the form for an event log. FST_SSE_PUBLISH for an event that a channel cannot publish. */
  serialize: (event: unknown) => SerializedEvent
  /** Whether the same schema serialized the entry, in this process or in another one. */
  matches: (entry: Readonly<SerializedEvent>) => boolean
  /** Whether the map declares the name of the event. */
  declares: (event: AnyEvent) => boolean
  /**
   * Whether this contract declares every event of a channel with that map, with the same schema objects. If this
   * contract declares `error`, then the map must declare it too, because a channel may end with an `error` event.
   */
  declaresAll: (map: EventMap | undefined) => boolean
}

interface EventInput {
  event?: unknown
  data?: unknown
  id?: string | number | undefined
  retry?: number | undefined
  comment?: string | undefined
}

// The events that channels send on any route.
const SYSTEM_EVENTS: readonly string[] = [RESET_EVENT, GAP_EVENT] satisfies Array<SystemEvent['event']>
const SYSTEM_EVENT_FIELDS = ['reason', 'oldest', 'newest', 'dropped', 'channel']

/**
 * Returns the event, with unchecked fields. FST_SSE_EVENT for any other value; for the chunk of another library, the
 * message names `asData`.
 */
export function checkEvent (event: unknown): EventInput {
  if (typeof event !== 'object' || event === null || Array.isArray(event)) throw new FST_SSE_EVENT(describe(event))
  assertFields(event)
  return event
}

/** Whether the event has neither data nor a name. `data: undefined` is a mistake, and makes no control event. */
function isControl (event: EventInput): boolean {
  return !('data' in event) && event.event === undefined
}

function eventName (event: EventInput): string {
  const name = event.event
  if (name === undefined || name === '') return 'message'
  if (typeof name !== 'string') throw new FST_SSE_FIELD('event', 'a string', describe(name))
  return name
}

function assertData (name: string, data: unknown): void {
  if (data === undefined) throw new FST_SSE_DATA(name, '/', 'data is missing, so no client would dispatch the event')
}

/**
 * Returns an event that a channel can publish. FST_SSE_PUBLISH for an event without data, for a reserved name, and for
 * an `id`, `retry` or `comment`: the channel sets the position, and its log stores neither of the others.
 */
function checkPublishable (input: unknown): EventInput {
  const isObject = typeof input === 'object' && input !== null && !Array.isArray(input)
  if (isObject) assertFields(input)
  if (!isObject || isControl(input)) throw new FST_SSE_PUBLISH(`expected { data, event? }, got ${describe(input)}`)
  const event: EventInput = input
  if (typeof event.event === 'string' && event.event.startsWith(RESERVED)) {
    throw new FST_SSE_PUBLISH(`the name ${describe(event.event)} is reserved`)
  }
  for (const field of ['id', 'retry', 'comment'] as const) {
    if (event[field] !== undefined) throw new FST_SSE_PUBLISH(`an event of a channel has no '${field}'`)
  }
  return event
}

function serializeUnchecked (event: EventInput): SerializedEvent {
  const name = eventName(event)
  const { data } = event
  assertData(name, data)
  if (typeof data === 'string') return { event: name, data, json: false, fingerprint: FREE }
  return { event: name, data: serialize(name, data), json: true, fingerprint: FREE }
}

/** The contract of a route without `schema.sse`: strings are sent unchanged, other data as JSON. */
export const freeContract: Contract = {
  declares: () => true,
  declaresAll: () => true,
  serialize (input) {
    const serialized = serializeUnchecked(checkPublishable(input))
    encodeName(serialized.event)
    return serialized
  },
  // The name may be invalid: no map of this process has checked it.
  matches: ({ event, fingerprint }) => fingerprint === FREE && isEventName(event),
  frame (input, format = EVENT_STREAM) {
    const event = checkEvent(input)
    if (isControl(event)) return format.control(event)
    const serialized = serializeUnchecked(event)
    if (serialized.event !== 'message' && serialized.event.startsWith(RESERVED) &&
      !SYSTEM_EVENTS.includes(serialized.event)) {
      throw new FST_SSE_FIELD('event', `a name that does not begin with '${RESERVED}'`, describe(serialized.event))
    }
    return format.event(event, serialized, encodeName(serialized.event))
  }
}

/** Whether the value is an `sse.reset` or `sse.gap` event. */
export function isSystemEvent (event: unknown): event is SystemEvent {
  return typeof event === 'object' && event !== null && SYSTEM_EVENTS.includes((event as AnyEvent).event as string)
}

/** Returns the frame of `sse.reset` or `sse.gap`. No map declares them, so only their own fields are serialized. */
function encodeSystemEvent (event: EventInput, format: WireFormat): string {
  const name = eventName(event)
  assertData(name, event.data)
  const data = JSON.stringify(event.data, SYSTEM_EVENT_FIELDS)
  return format.event(event, { event: name, data, json: true }, encodeName(name))
}

/**
 * Compiles the contract of an event map. FST_SSE_MAP or FST_SSE_SCHEMA for an invalid map, at start-up; the message
 * names the place (`GET /orders`), the event and the reason.
 */
export function compileContract (map: unknown, place: string, compile: SchemaCompiler): Contract {
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    throw new FST_SSE_MAP(place, `got ${describe(map)}`)
  }
  const declared = new Map<string, CompiledSchema & { schema: unknown, line: string }>()
  // A protocol may have one schema for many events.
  const compiled = new Map<object, CompiledSchema>()
  const compileOnce = (schema: object): CompiledSchema => {
    const result = compiled.get(schema) ?? compile(schema)
    compiled.set(schema, result)
    return result
  }
  for (const [name, schema] of Object.entries(map as Record<string, unknown>)) {
    if (name === '' || name.startsWith(RESERVED)) throw new FST_SSE_MAP(place, `the name ${describe(name)} is reserved`)
    let vendor = 'unknown'
    try {
      const { schema: data } = splitTexts(schema)
      if (!isSchema(schema) || !isSchema(data)) {
        throw new FST_SSE_MAP(place, `the schema of event '${name}' is ${describe(data)}`)
      }
      vendor = vendorName(data)
      declared.set(name, { ...compileOnce(schema), schema, line: encodeName(name) })
    } catch (cause) {
      if (cause instanceof FST_SSE_MAP) throw cause
      const error = new FST_SSE_SCHEMA(place, `'${name}' (${vendor})`, errorMessage(cause))
      error.cause = cause
      throw error
    }
  }
  if (declared.size === 0) throw new FST_SSE_MAP(place, 'got no event')

  const write = (event: EventInput): SerializedEvent & { line: string } => {
    const name = eventName(event)
    const declaration = declared.get(name)
    if (declaration === undefined) throw new FST_SSE_UNKNOWN_EVENT(name, [...declared.keys()].join(', '))
    const { data } = event
    const text = serializeWith(declaration.write, name, data)
    if (text === undefined) {
      assertData(name, data)
      // Data may be nested too deeply for the stack.
      const { path, message } = serializeWith(declaration.explain, name, data)
      throw new FST_SSE_DATA(name, path, message)
    }
    return {
      event: name,
      data: text,
      json: !declaration.textual && declaration.texts?.includes(text) !== true,
      fingerprint: declaration.fingerprint,
      line: declaration.line
    }
  }

  return {
    declares: event => declared.has(eventName(event)),
    declaresAll: other =>
      other !== undefined && Object.entries(other).every(([name, schema]) => declared.get(name)?.schema === schema) &&
      (!declared.has('error') || Object.hasOwn(other, 'error')),
    serialize (input) {
      const { line: _, ...serialized } = write(checkPublishable(input))
      return serialized
    },
    matches ({ event, fingerprint }) {
      const declaration = declared.get(event)
      return declaration !== undefined && declaration.fingerprint === fingerprint
    },
    frame (input, format = EVENT_STREAM) {
      const event = checkEvent(input)
      if (isControl(event)) return format.control(event)
      if (SYSTEM_EVENTS.includes(event.event as string)) return encodeSystemEvent(event, format)
      const written = write(event)
      return format.event(event, written, written.line)
    }
  }
}
