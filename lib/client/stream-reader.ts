import { END_ID, GAP_EVENT, LIVE, REPLAY, RESET_EVENT } from '../wire/protocol.ts'
import type { ParserHandlers } from './parser.ts'
import { SequenceChecker } from './sequence-checker.ts'
import { StreamError } from './stream-error.ts'

/** The state of a stream: `replaying` while the server sends the history of its channels. */
export type StreamState = 'connecting' | 'replaying' | 'live' | 'closed'

/** A received event before it is decoded. `id` is the last event id. */
export interface Message {
  readonly event: string
  readonly data: string
  readonly id: string
  /** The data as a value, where the format has one. */
  readonly value?: unknown
}

// The comments of a stream of channels.
const STATES = new Map<string, StreamState>([[REPLAY, 'replaying'], [LIVE, 'live']])

/**
 * Collects the events of all connections, without duplicates and with no gaps as far as ids show them, and the
 * position.
 */
export class StreamReader<E extends object> implements ParserHandlers {
  /** The position from which to resume. It never moves past an event that could not be decoded. */
  lastEventId: string
  /** The reconnection time that the server sent, in milliseconds. */
  reconnectionTime = 0
  /**
   * Whether this connection has delivered an event or a position. Duplicates, events after missing ones and undecodable
   * events do not count.
   */
  progressed = false
  /** Whether the bytes since the last takeItems() held a comment and nothing else. */
  heartbeatOnly: boolean | undefined
  readonly #decode: (message: Message) => E | undefined
  readonly #sequence = new SequenceChecker()
  /** Whether the stream of this connection is of channels: their ids are consecutive. */
  #ofChannels = false
  #state: StreamState = 'connecting'
  #items: Array<E | StreamState> = []

  constructor (decode: (message: Message) => E | undefined, lastEventId: string) {
    this.#decode = decode
    this.lastEventId = lastEventId
    this.#sequence.move(lastEventId)
  }

  /** Whether the server has sent the end mark of a finite stream. */
  get ended (): boolean { return this.lastEventId === END_ID }

  /** Called before each connection. */
  begin (): void {
    this.progressed = this.#ofChannels = false
    this.#state = 'connecting'
  }

  /** Removes and returns the events and states since the last call, in their order. */
  takeItems (): Array<E | StreamState> {
    const items = this.#items
    this.#items = []
    this.heartbeatOnly = undefined
    // The first bytes held no comment of channels, so there is no replay.
    if (this.#state === 'connecting') items.unshift(this.#state = 'live')
    return items
  }

  message (event: string, data: string, id: string, hasId: boolean, value?: unknown): void {
    this.heartbeatOnly = false
    // A gap without a position is followed by a snapshot, as a reset is.
    if (!this.#ofChannels || event === RESET_EVENT || (event === GAP_EVENT && !hasId)) this.#sequence.forget()
    else if (hasId && event !== GAP_EVENT) {
      const verdict = this.#sequence.check(id)
      if (verdict === 'duplicate') return
      if (verdict === 'missing') {
        throw new StreamError('FST_SSE_MISSING_EVENTS', `Events between ${this.lastEventId} and ${id} are missing`)
      }
    }
    const decoded = this.#decode({ event, data, id, value })
    this.progressed = true
    if (hasId) this.position(id)
    if (decoded !== undefined) this.#items.push(decoded)
  }

  position (id: string): void {
    this.progressed = true
    this.heartbeatOnly = false
    this.lastEventId = id
    this.#sequence.move(id)
  }

  retry (time: number): void { this.reconnectionTime = time }

  comment (text: string): void {
    const state = STATES.get(text)
    this.heartbeatOnly ??= state === undefined
    if (state === undefined) return
    this.#ofChannels = true
    this.#items.push(this.#state = state)
  }
}
