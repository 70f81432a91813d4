import type { Channel } from '../../lib/index.ts'
import { CHANNELS, ORDINARY, PADDING, WIDE, type EVENTS } from './channels.ts'
import type { Acknowledged, News, Refused } from './messages.ts'

// Milliseconds.
const TICK = 20
// After a longer interruption, only that much is made up for.
const MAX_LATE = 100
// The most events of one channel that are published at once.
const MAX_GO = 8
// A wide channel gets one event in that many ticks.
const WIDE_TICKS = 50
// With that many unsettled publishes, it pauses until some have settled.
const MAX_PENDING = 10_000

/** Publishes to all channels, and reports which events were acknowledged and which were not. */
export class Publisher {
  readonly #id: number
  readonly #channels: ReadonlyArray<Channel<typeof EVENTS>>
  readonly #dice: (below: number) => number
  readonly #report: (news: News) => void
  #number = 0
  #pending = 0
  #rested: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined
  #acknowledged: Acknowledged[] = []
  #refused: Refused[] = []

  constructor (
    id: number,
    channels: ReadonlyArray<Channel<typeof EVENTS>>,
    dice: (below: number) => number,
    report: (news: News) => void
  ) {
    this.#id = id
    this.#channels = channels
    this.#dice = dice
    this.#report = report
  }

  /** Sets the rate in events per second. */
  begin (rate: number): void {
    clearInterval(this.#timer)
    let due = 0
    let tick = 0
    let then = performance.now()
    this.#timer = setInterval(() => {
      const now = performance.now()
      due += rate * Math.min(now - then, MAX_LATE) / 1_000
      then = now
      if (++tick % WIDE_TICKS === 0) for (const channel of WIDE) this.#publish(channel)
      while (due >= 1 && this.#pending < MAX_PENDING) due -= this.#go(Math.floor(due))
      due = Math.min(due, MAX_GO)
      this.report()
    }, TICK)
  }

  /** Resolves when all of them are settled. */
  async burst (channel: number, events: number): Promise<void> {
    await Promise.all(Array.from({ length: events }, () => this.#publish(channel)))
    this.report()
  }

  /** Resolves when every publish is settled. */
  async rest (): Promise<void> {
    clearInterval(this.#timer)
    if (this.#pending > 0) await new Promise<void>(resolve => { this.#rested = resolve })
    this.report()
  }

  /** Reports the publishes that were settled since the last report. */
  report (): void {
    if (this.#acknowledged.length === 0 && this.#refused.length === 0) return
    this.#report({ news: 'settled', acknowledged: this.#acknowledged, refused: this.#refused })
    this.#acknowledged = []
    this.#refused = []
  }

  #go (most: number): number {
    const channel = this.#dice(ORDINARY)
    const events = Math.min(most, 1 + this.#dice(MAX_GO))
    for (let n = 0; n < events; n++) this.#publish(channel)
    return events
  }

  async #publish (channel: number): Promise<void> {
    const number = ++this.#number
    const padding = CHANNELS[channel]!.wide ? PADDING : ''
    this.#pending++
    try {
      const id = await this.#channels[channel]!.publish({
        event: 'tick',
        data: { publisher: this.#id, channel, number, padding }
      })
      this.#acknowledged.push([channel, number, id])
    } catch (error) {
      const { code, message } = error as { code?: string, message: string }
      this.#refused.push([channel, number, `${code ?? 'no code'}: ${message}`])
    }
    if (--this.#pending === 0) this.#rested?.()
  }
}
