import { CHANNELS } from './channels.ts'
import { fieldsOf, SequenceCheck } from './sequence-check.ts'
import { Wire, type Ending } from './wire.ts'

/** The counters of all members of a crowd. */
export class Figures {
  connections = 0
  /** Connections that received events. */
  admitted = 0
  events = 0
  heartbeats = 0
  gaps = 0
  dropped = 0
  resets = 0
  complete = 0
  cut = 0
  revoked = 0
  /** Rejected, with a status or with an empty stream. */
  refused = 0
  /** Cut by the client before there was a response. */
  unanswered = 0
}

export interface Surroundings {
  readonly port: number
  readonly figures: Figures
  readonly dice: (below: number) => number
  readonly wrong: (what: string) => void
  /** A client with this name is connected. */
  readonly named: (key: string) => void
}

// Most reconnect soon, one in ten takes longer. Milliseconds.
const SOON = 2_000
const LATE = 8_000

/** One client: receives a channel, checks each frame, and reconnects after the retry delay, or later. */
export class Member {
  readonly channel: number
  key: string
  place = new SequenceCheck()
  /** The stream is open and may send events. */
  admitted = false
  /** How the last response ended, and its retry delay, in milliseconds. */
  ended: { ending: Ending, retry: number | undefined } | undefined
  /** Whether it reconnects by itself. */
  returns = true
  readonly #name: string
  readonly #surroundings: Surroundings
  readonly #accept: string
  #incarnation = 0
  #wire: Wire | undefined
  #status = 0
  #retry: number | undefined
  #revoked = false
  #left = false
  #timer: NodeJS.Timeout | undefined
  #pause: NodeJS.Timeout | undefined

  constructor (name: string, channel: number, surroundings: Surroundings) {
    this.#name = this.key = name
    this.channel = channel
    this.#surroundings = surroundings
    // An EventSource cannot read a status; other clients can.
    this.#accept = surroundings.dice(2) === 0 ? 'text/event-stream' : '*/*'
    surroundings.named(name)
  }

  get answered (): boolean { return this.#status !== 0 || this.ended !== undefined }
  get stalls (): boolean { return this.#pause !== undefined }

  toString (): string { return `${this.key} of channel ${this.channel} at ${this.place.id}` }

  join (): void {
    clearTimeout(this.#timer)
    this.#surroundings.figures.connections++
    this.admitted = this.#revoked = this.#left = false
    this.#status = 0
    this.#retry = this.ended = undefined
    const { id } = this.place
    const headers = { accept: this.#accept, 'x-key': this.key, ...id !== undefined && { 'last-event-id': id } }
    this.#wire = new Wire(this.#surroundings.port, `/${this.channel}`, headers, {
      head: this.#head,
      frame: this.#frame,
      over: this.#over
    })
  }

  /** Disconnects: without a packet, by a reset, or by half-closing. */
  drop (how: 'destroy' | 'resetAndDestroy' | 'end'): void { this.#wire?.socket[how]() }

  /** Reads nothing for that long. */
  stall (time: number): void {
    if (this.#wire === undefined || this.stalls) return
    this.#wire.socket.pause()
    this.#pause = setTimeout(() => this.readOn(), time)
  }

  readOn (): void {
    clearTimeout(this.#pause)
    this.#pause = undefined
    this.#wire?.socket.resume()
  }

  /** Stays away, and uses another name when it connects again. */
  leave (): void {
    clearTimeout(this.#timer)
    this.#left = true
    this.readOn()
    this.drop('destroy')
    this.#renew()
  }

  #renew (): void {
    this.key = `${this.#name}.${++this.#incarnation}`
    this.#surroundings.named(this.key)
    this.place = new SequenceCheck()
  }

  readonly #head = (status: number, head: string): void => {
    this.#status = status
    const seconds = /^retry-after: (\d+)$/im.exec(head)?.[1]
    if (seconds !== undefined) this.#retry = Number(seconds) * 1_000
    if (![200, 403, 429, 503].includes(status)) this.#surroundings.wrong(`${this} got status ${status}`)
  }

  readonly #frame = (frame: string): void => {
    const { figures } = this.#surroundings
    if (frame === ':') {
      figures.heartbeats++
      return
    }
    const fields = fieldsOf(frame)
    if (fields.retry !== undefined) this.#retry = Number(fields.retry)
    if (!this.admitted && /^: (live|replay)/.test(frame)) {
      this.admitted = true
      figures.admitted++
    }
    if (fields.event === 'error') {
      this.#revoked = JSON.parse(fields.data!).status === 403
      if (!this.#revoked) this.#surroundings.wrong(`${this} got ${frame}`)
      return
    }
    const wrong = this.place.take(fields)
    if (wrong !== undefined) this.#surroundings.wrong(`${this} got ${wrong}`)
    if (fields.event !== undefined) this.#count(fields.event, fields.data!)
  }

  #count (event: string, data: string): void {
    const { figures, wrong } = this.#surroundings
    if (event === 'tick') {
      figures.events++
      return
    }
    if (event === 'sse.reset') {
      figures.resets++
    } else {
      figures.gaps++
      figures.dropped += JSON.parse(data).dropped
    }
    // The other channels have a history that is longer than any absence.
    if (!CHANNELS[this.channel]!.wide) wrong(`${this} got ${event}: ${data}`)
  }

  readonly #over = (ending: Ending): void => {
    const { figures, dice } = this.#surroundings
    this.#wire = undefined
    clearTimeout(this.#pause)
    this.#pause = undefined
    figures[ending]++
    if (this.#status === 0) figures.unanswered++
    else if (this.#status === 429 || this.#status === 503) figures.refused++
    else if (this.#status === 200 && ending === 'complete' && !this.admitted && !this.#revoked) figures.refused++
    this.admitted = false
    this.ended = { ending, retry: this.#retry }
    if (this.#revoked || this.#status === 403) {
      figures.revoked++
      this.#renew()
    }
    if (this.returns && !this.#left) {
      this.#timer = setTimeout(() => this.join(), Math.max(this.#retry ?? 0, dice(dice(10) === 0 ? LATE : SOON)))
    }
  }
}
