import type { DataOf, EventSchema } from './data-type.ts'

/**
 * The event map of a route or channel: event name → schema of `data`, of TypeBox, of a library with Standard Schema, or
 * a JSON Schema. `message`: events without a name.
 */
export type EventMap = Record<string, EventSchema>

/** The fields of an event that are for the client's connection, not for the page. */
export interface Position {
  /** The event id: the client sends it back as `Last-Event-ID`. At most 4096 bytes that a header can carry. */
  id?: string | number | undefined
  /** The reconnection delay of the client, in whole milliseconds. */
  retry?: number | undefined
}

type Letter = 'a' | 'b' | 'c' | 'd' | 'e' | 'f' | 'g' | 'h' | 'i' | 'j' | 'k' | 'l' | 'm' | 'n' | 'o' | 'p' | 'q' | 'r'
  | 's' | 't' | 'u' | 'v' | 'w' | 'x' | 'y' | 'z' | '_'
type After<Start extends string, But extends string = never> = `${Start}${Exclude<Letter, But>}${string}`

/**
 * Keys that no event has, by their first letters. The compiler checks the unknown keys of a literal, but not the keys
 * of a variable with a wider type. A longer list would cost more compile time than it is worth.
 */
type Foreign = After<'', 'c' | 'd' | 'e' | 'i' | 'r'> | After<'c', 'o'> | After<'co', 'm'> | After<'com', 'm'> | After<
  'd',
  'a'
> | After<'da', 't'> | After<'dat', 'a'> | After<'e', 'v'> | After<'i', 'd'> | After<'id'> | After<'r', 'e'> | After<
  're',
  't'
>

type NoForeign = { [K in Foreign]?: never }

// An interface has a name, which the compiler shows in its message. It repeats the keys that the compiler looks up for
// each event, `then` among them: a look-up by name is far cheaper than by the patterns.
interface NoOtherKeys extends NoForeign {
  then?: never
  event?: unknown
  data?: unknown
  id?: unknown
  retry?: unknown
  comment?: unknown
}

interface CommentEvent extends NoOtherKeys {
  comment: string
  id?: undefined
  retry?: undefined
  event?: undefined
  data?: undefined
}

interface PositionEvent extends NoOtherKeys {
  id: string | number
  retry?: number | undefined
  comment?: undefined
  event?: undefined
  data?: undefined
}

interface RetryEvent extends NoOtherKeys {
  retry: number
  id?: undefined
  comment?: undefined
  event?: undefined
  data?: undefined
}

/**
 * A control frame: `{ comment }`, `{ id }` or `{ retry }`, without an event of the application. No client dispatches a
 * comment or a reconnection delay, because these frames have no data. A position is sent as the reserved event
 * `sse.position` with empty data, because Firefox and WebKit do not keep the id of a frame without data, against WHATWG
 * HTML §9.2.6. A chunk of another library with an `id` and other keys is no control frame: `asData(source)` converts
 * such chunks to events.
 */
export type ControlEvent = CommentEvent | PositionEvent | RetryEvent

/**
 * Why a client could not resume from its position. `malformed`: the event id cannot be decoded. `unknown`: it belongs
 * to no history of the channel. `evicted`: entries after it have left the history. `ahead`: it is beyond the newest
 * entry.
 */
export type ResetReason = 'malformed' | 'unknown' | 'evicted' | 'ahead'

// Interfaces, so that the compiler shows the name and the data of an event in its message, and compares fewer types.

/** An event of a map by its name. */
export interface NamedEvent<N extends string, D> extends Position {
  event: N
  data: D
  comment?: undefined
}

/** An event of the name `message`, which it may omit. */
export interface UnnamedEvent<D> extends Position {
  event?: 'message' | undefined
  data: D
  comment?: undefined
}

/**
 * The events that a channel sends to its subscribers. `sse.reset`: the client could not resume; `oldest` and `newest`
 * are offsets. `sse.gap`: a slow consumer skipped `dropped` events. `channel`: the name of the channel, on a stream of
 * several channels.
 */
export type SystemEvent =
  | NamedEvent<'sse.reset', { reason: ResetReason, oldest: number, newest: number, channel?: string }>
  | NamedEvent<'sse.gap', { dropped: number, channel?: string }>

/** Any event: `{ event?, data, id?, retry? }` or a control frame. The event type of a route without `schema.sse`. */
export type AnyEvent = ControlEvent | (Position & { event?: string | undefined, data: unknown, comment?: undefined })

/** The events of an object type that maps names to payloads. AnyEvent if the names are known only at run time. */
export type EventOfPayloads<P> = string extends keyof P ? AnyEvent : ControlEvent | SystemEvent | {
  [K in keyof P & string]: K extends 'message' ? UnnamedEvent<P[K]> : NamedEvent<K, P[K]>
}[keyof P & string]

/**
 * The events that a route with this map may send. The type of a generator: `AsyncGenerator<EventOf<typeof events>>`.
 */
export type EventOf<M extends EventMap> = EventOfPayloads<{ [K in keyof M]: DataOf<M[K]> }>

/** The events that a channel with this map publishes: `{ event?, data }`. The channel sets their position. */
export type PublishEventOf<M extends EventMap> = string extends keyof M ? { event?: string | undefined, data: unknown }
  : {
      [K in keyof M & string]: K extends 'message' ? { event?: K | undefined, data: DataOf<M[K]> }
        : { event: K, data: DataOf<M[K]> }
    }[keyof M & string]

/** The events that subscribers of a channel with this map receive, with their position: one frozen object for all. */
export type ReceivedEventOf<M extends EventMap> = string extends keyof M
  ? { readonly event: string, readonly data: unknown, readonly id: string }
  : {
      [K in keyof M & string]: { readonly event: K, readonly data: DataOf<M[K]>, readonly id: string }
    }[keyof M & string]

/**
 * The events that a loop over a subscription receives in addition to the events of the map: `sse.reset`, `sse.gap`, and
 * the `error` at the end of a channel whose map does not declare it.
 */
export type SystemEventReceived<M extends EventMap = EventMap> =
  | ('error' extends keyof M ? never : { readonly event: 'error', readonly data: unknown, readonly id: string })
  | {
    readonly event: 'sse.reset'
    readonly data: Extract<SystemEvent, { event: 'sse.reset' }>['data']
    readonly id: string
  }
  | {
    readonly event: 'sse.gap'
    readonly data: Extract<SystemEvent, { event: 'sse.gap' }>['data']
    readonly id: string
  }
