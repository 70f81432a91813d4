import type { DataOf } from '../contract/data-type.ts'
import type { EventMap, ReceivedEventOf, SystemEventReceived } from '../contract/event-types.ts'
import { isTextSchema } from '../schema/text-schema.ts'
import { splitTexts, type SchemaWithTexts } from '../schema/texts.ts'
import type { StandardSchema } from '../schema/vendor.ts'
import { GAP_EVENT, RESET_EVENT } from '../wire/protocol.ts'
import { call } from './callback.ts'
import type { ReceivedEvent } from './event-stream.ts'
import { StreamError } from './stream-error.ts'
import type { Message } from './stream-reader.ts'

/** The encoding of an event's data: text if its schema admits only strings, else JSON. */
export type Encoding = 'text' | 'json'

/**
 * Replaces an event map whose schemas are not wanted in the bundle. The compiler compares it with the map:
 * `connect<typeof orderEvents>(url, { events: { paid: 'json', note: 'text', chunk: withTexts('json', '[DONE]') } })`.
 */
export type EncodingsOf<M extends EventMap> = {
  readonly [K in keyof M]: M[K] extends SchemaWithTexts<infer S, infer T> ? SchemaWithTexts<EncodingOf<DataOf<S>>, T>
    : EncodingOf<DataOf<M[K]>>
}

// The type of a JSON Schema may be unknown.
type EncodingOf<Data> = unknown extends Data ? Encoding : [Data] extends [string] ? 'text' : 'json'

/** An event of a stream without a map, its data as text. `id` is the last event id. */
export interface RawEvent { readonly event: string, readonly data: string, readonly id: string }

/** The events of a stream with this map, and the system events about a channel's history. */
export type ClientEventOf<M extends EventMap> = ReceivedEventOf<M> | Extract<SystemEventReceived,
  { event: 'sse.reset' | 'sse.gap' }>

/** Checks the data of an event against its schema. Returns the fault, or undefined. */
export type Validate = (schema: unknown, data: unknown) => string | undefined

/** Makes an event of a message; undefined for an event that the map does not declare. Throws a StreamError. */
export type Decode = (message: Message) => ReceivedEvent | undefined

type Events = EventMap | Readonly<Record<string, Encoding | SchemaWithTexts<Encoding>>>

// Valibot refuses actions such as `brand`. The server refuses those that matter.
const OPTIONS = { target: 'draft-07', libraryOptions: { errorMode: 'ignore' } }
const SYSTEM: ReadonlyArray<readonly [string, Encoding]> = [[RESET_EVENT, 'json'], [GAP_EVENT, 'json']]

/** Returns the encoding of each declared event, by name. */
export function encodingsOf (events: Events): ReadonlyMap<string, Encoding> {
  return new Map([...SYSTEM, ...Object.entries(events).map(([name, schema]) => [name, encodingOf(schema)] as const)])
}

/**
 * Returns the encoding of an event with this schema. Throws for a Standard Schema that gives no JSON Schema. A page
 * loads this file: it needs less of a Standard Schema than `jsonSchemaOf`.
 */
export function encodingOf (declared: unknown): Encoding {
  const { schema } = splitTexts(declared)
  if (schema === 'text' || schema === 'json') return schema
  const { '~standard': standard } = schema as Partial<StandardSchema>
  return isTextSchema(standard ? standard.jsonSchema!.output(OPTIONS) : schema) ? 'text' : 'json'
}

/** Returns the function that decodes messages by the map, or passes them unchanged without one. */
export function decoderOf (events: object | undefined, validate: Validate | undefined): Decode {
  const encodings = events && encodingsOf(events as Events)
  return message => {
    const { event, data, id } = message
    const encoding = encodings?.get(event)
    if (event === 'error' && encoding === undefined) throw serverError(data)
    if (encodings === undefined) return { event, data, id }
    if (encoding === undefined) return undefined
    const { texts, schema } = splitTexts((events as Events)[event])
    if (texts?.includes(data) === true) return { event, data, id }
    const value = encoding === 'text' ? data : message.value ?? parsed(event, data)
    // A schema of ArkType is a function.
    const fault = Object(schema) === schema ? call('validate()', () => validate?.(schema, value)) : undefined
    if (fault !== undefined) {
      throw new StreamError('FST_SSE_INVALID_EVENT', `Event '${event}' does not match its schema: ${fault}`, { data: value })
    }
    return { event, data: value, id }
  }
}

function parsed (event: string, data: string): unknown {
  try {
    return JSON.parse(data)
  } catch (cause) {
    throw new StreamError('FST_SSE_INVALID_EVENT', `Event '${event}' is not JSON`, { data, cause })
  }
}

/**
 * Returns the error for an event `error` that no map declares: the problem details of the server (RFC 9457), or its
 * text.
 */
function serverError (data: string): StreamError {
  let problem: unknown = data
  try {
    problem = JSON.parse(data)
  } catch {}
  const { detail, title } = Object(problem) as { detail?: unknown, title?: unknown }
  const text = [detail, title].find(part => typeof part === 'string') ?? data
  return new StreamError('FST_SSE_SERVER_ERROR', `The server failed: ${text}`, { data: problem })
}
