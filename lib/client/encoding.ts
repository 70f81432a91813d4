import type { EventMap, EventSchema, ReceivedEventOf, SystemEventReceived } from '../contract/event-types.ts'
import { isTextSchema } from '../schema/text-schema.ts'
import { GAP_EVENT, RESET_EVENT } from '../wire/protocol.ts'

/** How the data of an event travels: as text where its schema admits only strings, else as JSON. */
export type Encoding = 'text' | 'json'

/**
 * What stands for an event map where its schemas are not wanted in the bundle: `connect<typeof orderEvents>(url, { events: { paid: 'json', note: 'text' } })`.
 * The compiler compares it with the map.
 */
export type EncodingsOf<M extends EventMap> = { readonly [K in keyof M]: (M[K] & { params: [] })['static'] extends string ? 'text' : 'json' }

/** An event as it is, for a stream without a map. `id` is the last event id. */
export interface RawEvent { readonly event: string, readonly data: string, readonly id: string }

/** What a stream with this map gives: its events, and what the server says of a channel's history. */
export type ClientEventOf<M extends EventMap> = ReceivedEventOf<M> | Extract<SystemEventReceived, { event: 'sse.reset' | 'sse.gap' }>

const SYSTEM: ReadonlyArray<readonly [string, Encoding]> = [[RESET_EVENT, 'json'], [GAP_EVENT, 'json']]

/** By name; what no map declares has none. */
export function encodingsOf (events: EventMap | Readonly<Record<string, Encoding>>): ReadonlyMap<string, Encoding> {
  return new Map([...SYSTEM, ...Object.entries(events).map(([name, schema]) => [name, encodingOf(schema)] as const)])
}

const encodingOf = (schema: EventSchema | Encoding): Encoding => typeof schema === 'string' ? schema : isTextSchema(schema) ? 'text' : 'json'
