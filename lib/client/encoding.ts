import type { EventMap, EventSchema, ReceivedOf, SystemReceived } from '../contract/contract.ts'
import { isTextual } from '../schema/text-schema.ts'

/** How the data of an event travels: as text where its schema admits only strings, else as JSON. */
export type Form = 'text' | 'json'

/**
 * What stands for an event map where its schemas are not wanted in the bundle: `connect<typeof orderEvents>(url, { events: { paid: 'json', note: 'text' } })`.
 * The compiler compares it with the map.
 */
export type FormsOf<M extends EventMap> = { readonly [K in keyof M]: (M[K] & { params: [] })['static'] extends string ? 'text' : 'json' }

/** An event as it is, for a stream without a map. `id` is the last event id. */
export interface RawReceived { readonly event: string, readonly data: string, readonly id: string }

/** What a stream with this map gives: its events, and what the server says of a channel's history. */
export type ClientEventOf<M extends EventMap> = ReceivedOf<M> | Extract<SystemReceived, { event: 'sse.reset' | 'sse.gap' }>

const SYSTEM: ReadonlyArray<readonly [string, Form]> = [['sse.reset', 'json'], ['sse.gap', 'json']]

/** By name; what no map declares has none. */
export function formsOf (events: EventMap | Readonly<Record<string, Form>>): ReadonlyMap<string, Form> {
  return new Map([...SYSTEM, ...Object.entries(events).map(([name, schema]) => [name, formOf(schema)] as const)])
}

const formOf = (schema: EventSchema | Form): Form => typeof schema === 'string' ? schema : isTextual(schema) ? 'text' : 'json'
