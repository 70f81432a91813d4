import type { TSchema } from '@sinclair/typebox'
import { encodeComment, encodeControl, encodeData, encodeName, encodePosition, isName } from '../wire/encode.ts'
import { GAP_EVENT, RESERVED, RESET_EVENT } from '../wire/protocol.ts'
import { FST_SSE_DATA, FST_SSE_EVENT, FST_SSE_FIELD, FST_SSE_MAP, FST_SSE_PUBLISH, FST_SSE_SCHEMA, FST_SSE_UNKNOWN_EVENT, describe } from '../errors.ts'
import { messageOf } from '../thrown.ts'
import { FREE } from '../schema/fingerprint.ts'
import type { CompiledSchema } from '../schema/schema.ts'
import { attempt, serialize } from '../schema/serialize.ts'
import { assertFields } from './foreign.ts'
import type { AnyEvent, EventMap, SystemEvent } from './event-types.ts'

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

// Channels send these through any route.
const SYSTEM: readonly string[] = [RESET_EVENT, GAP_EVENT] satisfies Array<SystemEvent['event']>
const SYSTEM_FIELDS = ['reason', 'oldest', 'newest', 'dropped', 'channel']

/** The event, whose fields are still to be checked. FST_SSE_EVENT for what is none, with a hint for a foreign chunk. */
export function asEvent (event: unknown): Incoming {
  if (typeof event !== 'object' || event === null || Array.isArray(event)) throw new FST_SSE_EVENT(describe(event))
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
  if (typeof name !== 'string') throw new FST_SSE_FIELD('event', 'a string', describe(name))
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
  if (!isObject || isControl(given)) throw new FST_SSE_PUBLISH(`expected { data, event? }, got ${describe(given)}`)
  const event: Incoming = given
  if (typeof event.event === 'string' && event.event.startsWith(RESERVED)) throw new FST_SSE_PUBLISH(`the name ${describe(event.event)} is reserved`)
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
  return { event: name, data: serialize(name, data), json: true, fingerprint: FREE }
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
    if (written.event !== 'message' && written.event.startsWith(RESERVED) && !SYSTEM.includes(written.event)) throw new FST_SSE_FIELD('event', `a name that does not begin with '${RESERVED}'`, describe(written.event))
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
  if (typeof map !== 'object' || map === null || Array.isArray(map)) throw new FST_SSE_MAP(place, `got ${describe(map)}`)
  const declared = new Map<string, CompiledSchema & { schema: unknown, prefix: string }>()
  for (const [name, schema] of Object.entries(map)) {
    if (name === '' || name.startsWith(RESERVED)) throw new FST_SSE_MAP(place, `the name ${describe(name)} is reserved`)
    if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) throw new FST_SSE_MAP(place, `the event '${name}' has ${describe(schema)}`)
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
