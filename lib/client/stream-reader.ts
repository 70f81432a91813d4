import { END_ID, GAP_EVENT, LIVE, REPLAY, RESET_EVENT } from '../wire/protocol.ts'
import { Parser, type ParserHandlers } from './parser.ts'
import { SequenceChecker } from './sequence-checker.ts'
import { StreamError } from './stream-error.ts'

/** Where a stream is: `catching-up` while the server sends what its channels kept. */
export type StreamState = 'connecting' | 'replaying' | 'live' | 'closed'

/** An event as it came. `id` is the last event id. */
export interface Message { readonly event: string, readonly data: string, readonly id: string }

// What the server says in comments, of a stream that follows channels.
const MARKS = new Map<string, StreamState>([[REPLAY, 'replaying'], [LIVE, 'live']])

/** What is read, over all connections: events, each once and none left out where that can be known, and the position. */
export class StreamReader<E extends object> implements ParserHandlers {
  /** Where to go on from. Behind an event that could not be read it never is. */
  lastEventId: string
  /** The reconnection time that the server told, in milliseconds. */
  reconnectionTime = 0
  /** This connection has brought something that counts: not what came twice, behind a hole, or could not be read. */
  progressed = false
  /** The last bytes brought a comment, and nothing else. */
  heartbeatOnly: boolean | undefined
  /** What went wrong in the last bytes. What came before it is good. */
  failure: unknown
  readonly #read: (message: Message) => E | undefined
  readonly #maxEventBytes: number
  readonly #sequence = new SequenceChecker()
  #parser!: Parser
  /** This connection's stream is one of channels, whose ids can be counted. */
  #marked = false
  #state: StreamState = 'connecting'
  #items: Array<E | StreamState> = []

  constructor (read: (message: Message) => E | undefined, lastEventId: string, maxEventBytes: number) {
    this.#read = read
    this.lastEventId = lastEventId
    this.#maxEventBytes = maxEventBytes
    this.#sequence.move(lastEventId)
  }

  /** Whether the server has said that there is no more. */
  get ended (): boolean { return this.lastEventId === END_ID }

  /** Another connection. */
  begin (): void {
    this.progressed = this.#marked = false
    this.#state = 'connecting'
    this.#parser = new Parser(this, this.#maxEventBytes, this.lastEventId)
  }

  /** Events and states, in their order. */
  feed (bytes: Uint8Array): Array<E | StreamState> {
    const came: Array<E | StreamState> = this.#items = []
    this.heartbeatOnly = undefined
    this.failure = undefined
    try {
      this.#parser.feed(bytes)
    } catch (error) {
      this.failure = error
    }
    // It says nothing of channels, so there is nothing to catch up with.
    if (this.#state === 'connecting') came.unshift(this.#state = 'live')
    return came
  }

  message (event: string, data: string, id: string, placed: boolean): void {
    this.heartbeatOnly = false
    if (!this.#marked || event === RESET_EVENT) this.#sequence.forget()
    else if (placed && event !== GAP_EVENT) {
      const verdict = this.#sequence.check(id)
      if (verdict === 'double') return
      if (verdict === 'hole') throw new StreamError('FST_SSE_MISSING_EVENTS', `After ${this.lastEventId} came ${id}: what is between was lost`)
    }
    const received = this.#read({ event, data, id })
    this.progressed = true
    if (placed) this.position(id)
    if (received !== undefined) this.#items.push(received)
  }

  position (id: string): void {
    this.progressed = true
    this.heartbeatOnly = false
    this.lastEventId = id
    this.#sequence.move(id)
  }

  retry (time: number): void { this.reconnectionTime = time }

  comment (text: string): void {
    const state = MARKS.get(text)
    this.heartbeatOnly ??= state === undefined
    if (state === undefined) return
    this.#marked = true
    this.#items.push(this.#state = state)
  }
}
