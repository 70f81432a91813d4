import { CHANNELS, PADDING, type Payload } from './channels.ts'
import type { Diary } from './diary.ts'
import type { Acknowledged, Head } from './messages.ts'

/** What is known of one channel. */
interface Account {
  epoch: string | undefined
  /** By offset: which event it is, or undefined where nobody has heard of it. */
  events: Array<number | undefined>
  /** The offset of each event. */
  offsets: Map<number, number>
  acknowledged: Set<number>
}

// An event is known by who published it and the number that it has there: both in one number.
const NUMBERS = 2 ** 32
const keyOf = (publisher: number, number: number): number => publisher * NUMBERS + number
const shown = (key: number): string => `event ${key % NUMBERS} of publisher ${Math.floor(key / NUMBERS)}`

/**
 * Which event has which offset, from all who know: publishers, of those that were acknowledged, and clients, of those that came.
 * One event has one offset and one offset one event, whoever says so.
 */
export class Ledger {
  readonly #diary: Diary
  readonly #accounts: readonly Account[] = CHANNELS.map(() => ({ epoch: undefined, events: [], offsets: new Map(), acknowledged: new Set() }))
  /** What was refused, by reason. */
  readonly refused = new Map<string, number>()

  constructor (diary: Diary) {
    this.#diary = diary
  }

  /** How many events were acknowledged. */
  get acknowledged (): number { return this.#accounts.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0) }

  /** How many came of which nobody could know whether they would. */
  get surprises (): number { return this.#accounts.reduce((sum, { acknowledged, offsets }) => sum + offsets.size - acknowledged.size, 0) }

  /** The last offset of a channel that anybody has heard of. */
  newest (channel: number): number { return Math.max(0, this.#accounts[channel]!.events.length - 1) }

  acknowledge (publisher: number, [channel, number, id]: Acknowledged): void {
    const [epoch, offset] = id.split('-')
    this.#note(channel, epoch!, Number(offset), keyOf(publisher, number), 'its publisher')
    const { acknowledged } = this.#accounts[channel]!
    if (acknowledged.has(Number(offset))) this.#diary.wrong(`${CHANNELS[channel]!.name}: ${id} was acknowledged twice, then for ${shown(keyOf(publisher, number))}`)
    acknowledged.add(Number(offset))
  }

  refuse (reason: string): void {
    this.refused.set(reason, (this.refused.get(reason) ?? 0) + 1)
    // A store that does not answer is no surprise here; anything else is.
    if (!/^FST_SSE_LOG_UNAVAILABLE: .* the event may still be appended$/.test(reason)) this.#diary.wrong(`publish was refused with ${reason}`)
  }

  deliver (channel: number, epoch: string, offset: number, payload: Payload, to: string): void {
    if (payload.channel !== channel || payload.padding !== (CHANNELS[channel]!.wide ? PADDING : '')) {
      this.#diary.wrong(`${to}: ${epoch}-${offset} of ${CHANNELS[channel]!.name} is ${JSON.stringify(payload).slice(0, 200)}`)
    }
    this.#note(channel, epoch, offset, keyOf(payload.publisher, payload.number), to)
  }

  /** Whether nothing was acknowledged beyond the end, the epoch was one, and each publisher's events stand in the order in which it published them. */
  close (heads: readonly Head[]): void {
    for (const [channel, { epoch, events }] of this.#accounts.entries()) {
      const { name } = CHANNELS[channel]!
      const head = heads[channel]!
      if (epoch !== undefined && head.epoch !== epoch) this.#diary.wrong(`${name}: its epoch was ${epoch} and is ${head.epoch}`)
      if (this.newest(channel) > head.newest) this.#diary.wrong(`${name}: it ends at ${head.newest}, but there was ${shown(events.at(-1)!)} at ${this.newest(channel)}`)
      const last = new Map<number, number>()
      for (const [offset, event] of events.entries()) {
        if (event === undefined) continue
        const publisher = Math.floor(event / NUMBERS)
        const before = last.get(publisher) ?? 0
        if (before > event) this.#diary.wrong(`${name}: at ${offset} there is ${shown(event)}, after ${shown(before)}`)
        last.set(publisher, event)
      }
    }
  }

  #note (channel: number, epoch: string, offset: number, event: number, by: string): void {
    const account = this.#accounts[channel]!
    account.epoch ??= epoch
    const there = account.events[offset]
    if (there === event && account.epoch === epoch) return
    const told = `${CHANNELS[channel]!.name}: ${by} was told that ${epoch}-${offset} is ${shown(event)}`
    if (account.epoch !== epoch) this.#diary.wrong(`${told}, but the epoch was ${account.epoch}`)
    if (there !== undefined) this.#diary.wrong(`${told}, and others that it is ${shown(there)}`)
    const before = account.offsets.get(event)
    if (before !== undefined && before !== offset) this.#diary.wrong(`${told}, which others have at ${before}`)
    account.events[offset] ??= event
    account.offsets.set(event, offset)
  }
}
