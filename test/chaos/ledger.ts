import { CHANNELS, PADDING, type Payload } from './channels.ts'
import type { Diary } from './diary.ts'
import type { Acknowledged, Head } from './messages.ts'

/** The knowledge of one channel. */
interface Account {
  epoch: string | undefined
  /** The event of each offset, or undefined if it is unknown. */
  events: Array<number | undefined>
  /** The offset of each event. */
  offsets: Map<number, number>
  acknowledged: Set<number>
}

// The key of an event: its publisher and its sequence number, in one number.
const NUMBERS = 2 ** 32
const keyOf = (publisher: number, number: number): number => publisher * NUMBERS + number
const shown = (key: number): string => `event ${key % NUMBERS} of publisher ${Math.floor(key / NUMBERS)}`

/**
 * The offsets of events, as reported by publishers for acknowledged events, and by clients for received ones. One event
 * has one offset, and one offset one event, in all reports.
 */
export class Ledger {
  readonly #diary: Diary
  readonly #accounts: readonly Account[] = CHANNELS.map(() => ({
    epoch: undefined,
    events: [],
    offsets: new Map(),
    acknowledged: new Set()
  })
  )

  /** The rejected publishes, by reason. */
  readonly refused = new Map<string, number>()

  constructor (diary: Diary) {
    this.#diary = diary
  }

  /** The number of acknowledged events. */
  get acknowledged (): number { return this.#accounts.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0) }

  /** The number of rejected events that were stored all the same. */
  get surprises (): number {
    return this.#accounts.reduce((sum, { acknowledged, offsets }) => sum + offsets.size - acknowledged.size, 0)
  }

  /** The highest reported offset of a channel. */
  newest (channel: number): number { return Math.max(0, this.#accounts[channel]!.events.length - 1) }

  acknowledge (publisher: number, [channel, number, id]: Acknowledged): void {
    const [epoch, offset] = id.split('-')
    this.#note(channel, epoch!, Number(offset), keyOf(publisher, number), 'its publisher')
    const { acknowledged } = this.#accounts[channel]!
    if (acknowledged.has(Number(offset))) {
      this.#diary.wrong(
        `${CHANNELS[channel]!.name}: ${id} was acknowledged twice, then for ${shown(keyOf(publisher, number))}`
      )
    }
    acknowledged.add(Number(offset))
  }

  refuse (reason: string): void {
    this.refused.set(reason, (this.refused.get(reason) ?? 0) + 1)
    // An unreachable store is expected here; any other error is not.
    if (!/^FST_SSE_LOG_UNAVAILABLE: .* the event may still be appended$/.test(reason)) {
      this.#diary.wrong(`publish was refused with ${reason}`)
    }
  }

  deliver (channel: number, epoch: string, offset: number, payload: Payload, to: string): void {
    if (payload.channel !== channel || payload.padding !== (CHANNELS[channel]!.wide ? PADDING : '')) {
      this.#diary.wrong(
        `${to}: ${epoch}-${offset} of ${CHANNELS[channel]!.name} is ${JSON.stringify(payload).slice(0, 200)}`
      )
    }
    this.#note(channel, epoch, offset, keyOf(payload.publisher, payload.number), to)
  }

  /**
   * Checks that no event was acknowledged beyond the end, that there was one epoch, and that each publisher's events
   * are in order.
   */
  close (heads: readonly Head[]): void {
    for (const [channel, { epoch, events }] of this.#accounts.entries()) {
      const { name } = CHANNELS[channel]!
      const head = heads[channel]!
      if (epoch !== undefined && head.epoch !== epoch) {
        this.#diary.wrong(`${name}: its epoch was ${epoch} and is ${head.epoch}`)
      }
      if (this.newest(channel) > head.newest) {
        this.#diary.wrong(
          `${name}: it ends at ${head.newest}, but there was ${shown(events.at(-1)!)} at ${this.newest(channel)}`
        )
      }
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
    const report = `${CHANNELS[channel]!.name}: ${by} reports that ${epoch}-${offset} is ${shown(event)}`
    if (account.epoch !== epoch) this.#diary.wrong(`${report}, but the epoch was ${account.epoch}`)
    if (there !== undefined) this.#diary.wrong(`${report}, but others report ${shown(there)}`)
    const before = account.offsets.get(event)
    if (before !== undefined && before !== offset) this.#diary.wrong(`${report}, but others report it at ${before}`)
    account.events[offset] ??= event
    account.offsets.set(event, offset)
  }
}
