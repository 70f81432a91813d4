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
export type PublishEventOf<M extends EventMap> = string extends keyof M ? { event?: string | undefined, data: unknown } : {
  [K in keyof M & string]: (K extends 'message' ? { event?: K | undefined } : { event: K }) & { data: (M[K] & { params: [] })['static'] }
}[keyof M & string]

/** What those who follow it get, with its position. It is one object for all of them, frozen. */
export type ReceivedEventOf<M extends EventMap> = string extends keyof M ? { readonly event: string, readonly data: unknown, readonly id: string } : {
  [K in keyof M & string]: { readonly event: K, readonly data: (M[K] & { params: [] })['static'], readonly id: string }
}[keyof M & string]

/** What a loop gets beside the events of the channel: what this package says, and the error that a channel ends with whose map declares none. */
export type SystemEventReceived<M extends EventMap = EventMap> =
  | ('error' extends keyof M ? never : { readonly event: 'error', readonly data: unknown, readonly id: string })
  | { readonly event: 'sse.reset', readonly data: Extract<SystemEvent, { event: 'sse.reset' }>['data'], readonly id: string }
  | { readonly event: 'sse.gap', readonly data: Extract<SystemEvent, { event: 'sse.gap' }>['data'], readonly id: string }
