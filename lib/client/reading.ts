import { Parser } from './parser.ts'
import { Place } from './place.ts'
import { StreamError } from './stream-error.ts'

/** Where a stream is: `catching-up` while the server sends what its channels kept. */
export type StreamState = 'connecting' | 'catching-up' | 'live' | 'closed'

/** An event as it came. `id` is the last event id. */
export interface Message { readonly event: string, readonly data: string, readonly id: string }

// What the server says in comments, of a stream that follows channels.
const MARKS = new Map<string, StreamState>([['replay', 'catching-up'], ['live', 'live']])
// The id that says: that was all.
const END_ID = 'sse.end'

/** What is read, over all connections: events, each once and none left out where that can be known, and the position. */
export class Reading<E extends object> {
  /** Where to go on from. Behind an event that could not be read it never is. */
  lastEventId: string
  /** The reconnection time that the server told, in milliseconds. */
  retry = 0
  /** This connection has brought something that counts: not what came twice, behind a hole, or could not be read. */
  fruitful = false
  /** The last bytes were a comment, and nothing else. */
  beat: boolean | undefined
  readonly #read: (message: Message) => E | undefined
  readonly #maxEventBytes: number
  readonly #place = new Place()
  #parser!: Parser
  /** This connection's stream is one of channels, whose ids can be counted. */
  #marked = false
  #state: StreamState = 'connecting'
  #came: Array<E | StreamState> = []

  /** `read` makes an event of a message, or nothing of it, or throws a StreamError. */
  constructor (read: (message: Message) => E | undefined, lastEventId: string, maxEventBytes: number) {
    this.#read = read
    this.lastEventId = lastEventId
    this.#maxEventBytes = maxEventBytes
    this.#place.move(lastEventId)
  }

  /** Whether the server has said that there is no more. */
  get ended (): boolean { return this.lastEventId === END_ID }

  /** Another connection. */
  begin (): void {
    this.fruitful = this.#marked = false
    this.#state = 'connecting'
    this.#parser = new Parser({
      message: (event, data, id, placed) => this.#take({ event, data, id }, placed),
      position: id => {
        this.fruitful = true
        this.beat = false
        this.lastEventId = id
        this.#place.move(id)
      },
      retry: time => { this.retry = time },
      comment: text => {
        this.beat ??= true
        const state = MARKS.get(text)
        if (state === undefined) return
        this.#marked = true
        this.#enter(state)
      }
    }, this.#maxEventBytes, this.lastEventId)
  }

  /** Answers with what went wrong in the middle of it; what came before that is good. */
  feed (bytes: Uint8Array): StreamError | undefined {
    this.beat = undefined
    try {
      this.#parser.feed(bytes)
    } catch (error) {
      return error as StreamError
    }
    // It says nothing of channels, so there is nothing to catch up with.
    if (this.#state === 'connecting') this.#enter('live')
    return undefined
  }

  /** Events and states that came since the last time, in their order. */
  taken (): Array<E | StreamState> {
    const came = this.#came
    this.#came = []
    return came
  }

  #enter (state: StreamState): void {
    this.#state = state
    this.beat = false
    this.#came.push(state)
  }

  #take (message: Message, placed: boolean): void {
    this.beat = false
    const { event, id } = message
    if (!this.#marked || event === 'sse.reset') this.#place.forget()
    else if (event !== 'sse.gap' && placed) {
      const verdict = this.#place.judge(id)
      if (verdict === 'double') return
      if (verdict === 'hole') throw new StreamError('FST_SSE_HOLE', `After ${this.lastEventId} came ${id}: what is between was lost`)
    }
    const received = this.#read(message)
    this.fruitful = true
    if (placed) {
      this.lastEventId = id
      if (this.#marked) this.#place.move(id)
    }
    if (received === undefined) return
    // Of an event that came before the marks nobody knows, and it is live.
    if (this.#state === 'connecting') this.#enter('live')
    this.#came.push(received)
  }
}
