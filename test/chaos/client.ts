import { request, type ClientRequest, type IncomingMessage } from 'node:http'
import { CHANNELS, type Payload } from './channels.ts'
import type { Diary } from './diary.ts'
import type { Ledger } from './ledger.ts'

/** Consecutive offsets that a client received, or that were reported as missing. */
export interface Span { kind: 'events' | 'sse.gap' | 'sse.reset', first: number, last: number }

interface Server {
  port: number
  ledger: Ledger
  diary: Diary
  /** Its own random generator. */
  dice: (below: number) => number
}

// The longest delay before a reconnect, in milliseconds.
const DELAY = 200

/** Receives one channel, reconnects with its last id whenever its connection ends, and checks each frame. */
export class Client {
  readonly channel: number
  /** How often it connected. */
  connections = 0
  delivered = 0
  /** Those of the current epoch, since the last reset to it. */
  spans: Span[] = []
  /** Resets because the store has lost data. */
  restarts = 0
  epoch = ''
  /** The position at which it began in this epoch; undefined before its first id. */
  start: number | undefined
  position = 0
  readonly #name: string
  readonly #server: Server
  #at = 'no node'
  #request: ClientRequest | undefined
  #rest = ''
  #timer: NodeJS.Timeout | undefined
  #paused = false
  #stopped = false
  readonly #counts = { 'sse.gap': 0, 'sse.reset': 0 }
  readonly #left = new Set<string>()

  constructor (index: number, channel: number, server: Server) {
    this.#name = `client ${index} of ${CHANNELS[channel]!.name}`
    this.channel = channel
    this.#server = server
  }

  get localPort (): number | undefined { return this.#request?.socket?.localPort }

  /** How often it received this kind of event. */
  count (kind: 'sse.gap' | 'sse.reset'): number { return this.#counts[kind] }

  toString (): string {
    return `${this.#name} (${this.epoch}-${this.position}, connection ${this.connections} at ${this.#at})`
  }

  connect (): void {
    if (this.#stopped) return
    const { port, dice } = this.#server
    this.connections++
    this.#rest = ''
    this.#at = 'no node'
    const headers = this.start === undefined ? {} : { 'last-event-id': `${this.epoch}-${this.position}` }
    this.#request = request({ port, host: '127.0.0.1', path: `/${this.channel}`, agent: false, headers },
      response => this.#answered(response))
    if (this.#paused) this.#request.once('socket', socket => socket.pause())
    // Broken connections are part of the test.
    this.#request.on('error', () => {}).once('close', () => {
      this.#timer = setTimeout(() => this.connect(), dice(DELAY))
    }).end()
  }

  /** Reads nothing before `resume()`. */
  pause (): void {
    this.#paused = true
    this.#request?.socket?.pause()
  }

  resume (): void {
    this.#paused = false
    this.#request?.socket?.resume()
  }

  stop (): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#request?.destroy()
  }

  #answered (response: IncomingMessage): void {
    this.#at = `publisher ${response.headers['x-publisher']}`
    response.on('error', () => {})
    if (response.statusCode !== 200) this.#wrong(`got status ${response.statusCode}`)
    response.setEncoding('latin1').on('data', (text: string) => {
      const frames = (this.#rest + text).split('\n\n')
      // An incomplete frame was not received.
      this.#rest = frames.pop()!
      for (const frame of frames) this.#receive(frame)
    })
  }

  #receive (frame: string): void {
    const fields: Record<string, string> = {}
    for (const line of frame.split('\n')) {
      const colon = line.indexOf(': ')
      fields[line.slice(0, colon)] = line.slice(colon + 2)
    }
    const { event, id, data } = fields
    if (event === undefined && id === undefined && data === undefined) return
    const [epoch = '', digits] = (id ?? '').split('-')
    const offset = Number(digits)
    if (this.start === undefined) {
      this.start = this.position = offset - (event === 'tick' ? 1 : 0)
      this.epoch = epoch
      this.#server.ledger.begin(this.channel, epoch, this.#name)
    }
    if (event === 'sse.reset' && /^(unknown|ahead)$/.test(JSON.parse(data!).reason)) {
      return this.#restart(epoch, offset, JSON.parse(data!))
    }
    if (epoch !== this.epoch || !Number.isSafeInteger(offset)) return this.#wrong(`got ${frame.slice(0, 300)}`)
    if (event === 'tick') this.#event(offset, JSON.parse(data!))
    else if (event === 'sse.gap') this.#gap(offset, JSON.parse(data!))
    else if (event === 'sse.reset') this.#reset(offset, JSON.parse(data!))
    else if (event !== 'sse.position' || offset !== this.position) this.#wrong(`got ${frame.slice(0, 300)}`)
  }

  #event (offset: number, payload: Payload): void {
    if (offset !== this.position + 1) this.#wrong(`got ${offset}`)
    this.delivered++
    this.#server.ledger.deliver(this.channel, this.epoch, offset, payload, this.#name)
    const span = this.spans.at(-1)
    if (span?.kind === 'events' && span.last + 1 === offset) span.last = offset
    else this.spans.push({ kind: 'events', first: offset, last: offset })
    this.position = offset
  }

  #gap (offset: number, { dropped }: { dropped: number }): void {
    if (offset !== this.position + dropped || dropped < 1 || !CHANNELS[this.channel]!.wide) {
      this.#wrong(`got a gap of ${dropped} up to ${offset}`)
    }
    this.#moved('sse.gap', offset)
  }

  #reset (offset: number, data: { reason: string, oldest: number, newest: number }): void {
    const { reason, oldest, newest } = data
    const kept = CHANNELS[this.channel]!.options.history.maxEvents
    // The only valid reason is a history that is shorter than the absence.
    const due = reason === 'evicted' && this.position < oldest - 1 && newest - oldest + 1 >= kept && offset === newest
    if (!due) this.#wrong(`got a reset to ${offset}: ${JSON.stringify(data)}`)
    this.#moved('sse.reset', offset)
  }

  /** After a loss of data: the position is not of this log. The ledger checks that there was a loss. */
  #restart (epoch: string, offset: number, data: { reason: string, newest: number }): void {
    const due = offset === data.newest && (data.reason === 'unknown'
      ? epoch !== this.epoch && !this.#left.has(epoch)
      : epoch === this.epoch && offset < this.position && this.#server.ledger.hasLost)
    if (!due) this.#wrong(`got a reset to ${epoch}-${offset}: ${JSON.stringify(data)}`)
    if (epoch !== this.epoch) this.#left.add(this.epoch)
    this.#counts['sse.reset']++
    this.restarts++
    this.epoch = epoch
    this.start = this.position = offset
    this.spans = []
    this.#server.ledger.begin(this.channel, epoch, this.#name)
  }

  #moved (kind: 'sse.gap' | 'sse.reset', offset: number): void {
    this.#server.diary.happened(`${kind} from ${this.position} to ${offset} for ${this}`)
    this.#counts[kind]++
    this.spans.push({ kind, first: this.position + 1, last: offset })
    this.position = offset
  }

  #wrong (what: string): void { this.#server.diary.wrong(`${this} ${what}`) }
}
