import { CHANNELS, PADDING, type Payload } from './channels.ts'
import type { Diary } from './diary.ts'
import type { Acknowledged, Head } from './messages.ts'

/** The knowledge of one epoch of a channel. */
interface Account {
  /** The event of each offset, or undefined if it is unknown. */
  events: Array<number | undefined>
  /** The offset of each event. */
  offsets: Map<number, number>
  acknowledged: Set<number>
  /** The reports that contradict others. After a loss of data, clients are reset to another epoch. */
  contradictions: string[]
}

// The key of an event: its publisher and its sequence number, in one number.
const NUMBERS = 2 ** 32
const keyOf = (publisher: number, number: number): number => publisher * NUMBERS + number
const shown = (key: number): string => `event ${key % NUMBERS} of publisher ${Math.floor(key / NUMBERS)}`

/**
 * The offsets of events, as reported by publishers for acknowledged events, and by clients for received ones. One event
 * has one offset, and one offset one event, in all reports. A channel has another epoch only after a loss of data.
 */
export class Ledger {
  readonly #diary: Diary
  /** The accounts of each channel, by epoch, in the order of the epochs. */
  readonly #accounts: ReadonlyArray<Map<string, Account>> = CHANNELS.map(() => new Map())
  /** How often data were lost. */
  #losses = 0

  /** The rejected publishes, by reason. */
  readonly refused = new Map<string, number>()

  constructor (diary: Diary) {
    this.#diary = diary
  }

  /** The number of acknowledged events. */
  get acknowledged (): number { return this.#sum(({ acknowledged }) => acknowledged.size) }

  /** The number of rejected events that were stored all the same. */
  get surprises (): number { return this.#sum(({ acknowledged, offsets }) => offsets.size - acknowledged.size) }

  /** The number of acknowledged events in epochs that ended with a loss of data. */
  get abandoned (): number {
    const last = this.#accounts.map(epochs => [...epochs.values()].at(-1)?.acknowledged.size ?? 0)
    return this.acknowledged - last.reduce((sum, size) => sum + size, 0)
  }

  /** The number of epochs that began after a loss of data. */
  get restarts (): number { return this.#accounts.reduce((sum, epochs) => sum + Math.max(0, epochs.size - 1), 0) }

  /** Whether the store has lost data. */
  get hasLost (): boolean { return this.#losses > 0 }

  /** Called before the store loses data: each channel may begin another epoch. */
  expectLoss (): void { this.#losses++ }

  /** The highest reported offset of a channel. */
  newest (channel: number): number { return this.head(channel).newest }

  /** The newest reported position of a channel. */
  head (channel: number): Head {
    const [epoch, account] = [...this.#accounts[channel]!].at(-1) ?? ['', undefined]
    return { epoch, newest: Math.max(0, (account?.events.length ?? 0) - 1) }
  }

  /** Whether a position is at least the given one. An epoch comes after all that were known before it. */
  reaches (channel: number, epoch: string, position: number, target: Head): boolean {
    const epochs = [...this.#accounts[channel]!.keys()]
    const later = epochs.indexOf(epoch) - epochs.indexOf(target.epoch)
    return target.epoch === '' || epoch === target.epoch ? position >= target.newest : later > 0
  }

  /** Called for the epoch of a channel that a client has learned. */
  begin (channel: number, epoch: string, by: string): void { this.#of(channel, epoch, by) }

  acknowledge (publisher: number, [channel, number, id]: Acknowledged): void {
    const [epoch, offset] = id.split('-')
    const event = keyOf(publisher, number)
    const account = this.#note(channel, epoch!, Number(offset), event, 'its publisher')
    if (account.acknowledged.has(Number(offset))) {
      this.#contradict(account, `${CHANNELS[channel]!.name}: ${id} was acknowledged twice, then for ${shown(event)}`)
    }
    account.acknowledged.add(Number(offset))
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

  /** Checks that no epoch with contradictions continues: called when every client has got events again. */
  checkEpochs (): void {
    for (const epochs of this.#accounts) {
      for (const contradiction of [...epochs.values()].at(-1)?.contradictions.splice(0) ?? []) {
        this.#diary.wrong(contradiction)
      }
    }
  }

  /**
   * Checks that no event was acknowledged beyond the end, that the last epoch is the newest one, without
   * contradictions, and that each publisher's events are in order.
   */
  close (heads: readonly Head[]): void {
    this.checkEpochs()
    for (const [channel, epochs] of this.#accounts.entries()) {
      const { name } = CHANNELS[channel]!
      const head = heads[channel]!
      const { epoch, newest } = this.head(channel)
      if (head.epoch !== epoch) this.#diary.wrong(`${name}: its epoch was ${epoch} and is ${head.epoch}`)
      if (newest > head.newest) {
        this.#diary.wrong(
          `${name}: it ends at ${head.newest}, but there was ${shown(epochs.get(epoch)!.events.at(-1)!)} at ${newest}`
        )
      }
      for (const account of epochs.values()) this.#checkOrder(name, account)
    }
  }

  #checkOrder (name: string, { events }: Account): void {
    const last = new Map<number, number>()
    for (const [offset, event] of events.entries()) {
      if (event === undefined) continue
      const publisher = Math.floor(event / NUMBERS)
      const before = last.get(publisher) ?? 0
      if (before > event) this.#diary.wrong(`${name}: at ${offset} there is ${shown(event)}, after ${shown(before)}`)
      last.set(publisher, event)
    }
  }

  #note (channel: number, epoch: string, offset: number, event: number, by: string): Account {
    const account = this.#of(channel, epoch, by)
    const there = account.events[offset]
    if (there === event) return account
    const report = `${CHANNELS[channel]!.name}: ${by} reports that ${epoch}-${offset} is ${shown(event)}`
    if (there !== undefined) this.#contradict(account, `${report}, but others report ${shown(there)}`)
    const before = account.offsets.get(event)
    if (before !== undefined && before !== offset) {
      this.#contradict(account, `${report}, but others report it at ${before}`)
    }
    account.events[offset] ??= event
    account.offsets.set(event, offset)
    return account
  }

  #of (channel: number, epoch: string, by: string): Account {
    const epochs = this.#accounts[channel]!
    let account = epochs.get(epoch)
    if (account === undefined) {
      account = { events: [], offsets: new Map(), acknowledged: new Set(), contradictions: [] }
      if (epochs.size > this.#losses) {
        this.#diary.wrong(`${CHANNELS[channel]!.name}: ${by} reports epoch ${epoch}, after ${[...epochs.keys()].join()}`)
      }
      epochs.set(epoch, account)
    }
    return account
  }

  /** After a loss of data, a node that knows less may have continued the epoch, until another one starts the next. */
  #contradict (account: Account, text: string): void {
    if (this.#losses === 0) this.#diary.wrong(text)
    else account.contradictions.push(text)
  }

  #sum (figure: (account: Account) => number): number {
    return this.#accounts.reduce((sum, epochs) =>
      [...epochs.values()].reduce((sum, account) => sum + figure(account), sum), 0)
  }
}
