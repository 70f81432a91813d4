import { setImmediate as turn } from 'node:timers/promises'
import { FrameBatch } from '../../lib/channel/frame-batch.ts'
import type { Cursor } from '../../lib/wire/cursor.ts'
import type { Feed } from '../../lib/channel/feed.ts'
import { ChannelReader } from '../../lib/channel/channel-reader.ts'
import type { StartPosition } from '../../lib/channel/start-position.ts'
import type { SubscriberContext } from '../../lib/channel/subscriber-context.ts'
import { encodePositionFrame } from '../../lib/wire/encode.ts'
import type { Projection } from '../../lib/channel/projection.ts'

/** The selection of one who wants all of it. */
export const ALL: Projection = { filter: undefined, map: undefined, snapshot: undefined, start: 'latest' }

interface TestPartyOptions {
  selection?: Partial<Projection>
  /** False: every event comes as an object. */
  frames?: boolean
  alone?: boolean
}

/** The party of one follower, in the test's hand: what it was given, in order, and how much room it has. */
export class TestParty implements SubscriberContext<ChannelReader> {
  readonly alone: boolean
  readonly writes: boolean
  readonly follower: ChannelReader
  unreported = 0
  /** How many takes or writes have room. */
  room = Infinity
  /** How often it came to the end of the log. */
  arrivals = 0
  /** Frames, events as objects, and at last the outcome as a word. */
  readonly given: unknown[] = []
  /** The chunks among it. */
  readonly chunks: FrameBatch[] = []
  /** Where it began; what is announced later is among what was given. */
  opening: StartPosition | undefined
  /** Settles with `ended`, `lagging <channel>` or the error that ended it. */
  readonly over: Promise<unknown>
  #settle!: (outcome: unknown) => void

  constructor (feed: Feed, { selection, frames = true, alone = true }: TestPartyOptions = {}) {
    this.alone = alone
    this.writes = frames
    this.over = new Promise(resolve => { this.#settle = resolve })
    this.follower = new ChannelReader(feed, { ...ALL, ...selection }, this)
  }

  writeFrames (frames: string | FrameBatch, events: number): void {
    this.room--
    if (typeof frames !== 'string') this.chunks.push(frames)
    this.given.push(...(typeof frames === 'string' ? frames : frames.text).split('\n\n').slice(0, -1))
    if (this.given.length < events) throw new Error(`${events} events were announced`)
  }

  /** Takes its stand: at once, where the log answers at once. */
  stand (cursor?: Cursor | 'malformed'): StartPosition | Promise<StartPosition> {
    const head = this.follower.attach()
    return head instanceof Promise ? head.then(head => this.follower.open(head, cursor)) : this.follower.open(head, cursor)
  }

  /** Takes its stand, and reads: in the next turn, if this one has lasted long enough. */
  async begin (cursor?: Cursor | 'malformed'): Promise<this> {
    const opening = this.stand(cursor)
    this.opening = opening instanceof Promise ? await opening : opening
    this.follower.start()
    await turn()
    return this
  }

  /** Room for so many more. */
  async grant (room: number): Promise<void> {
    this.room = room
    this.follower.pull()
    await turn()
  }

  id (): string {
    this.unreported = 0
    return `${this.follower.epoch}-${this.follower.position}`
  }

  checkpoint (): string { return this.unreported === 0 ? '' : encodePositionFrame(this.id()) }
  arrived (): void { this.arrivals++ }
  hasRoom (): boolean { return this.room > 0 }

  write (event: unknown, before = ''): void {
    this.room--
    this.given.push(...before.split('\n\n').slice(0, -1), event)
  }

  gap (follower: ChannelReader, dropped: number, position: number): void {
    const before = this.checkpoint()
    follower.position = position
    const data = this.alone ? { dropped } : { dropped, channel: follower.feed.settings.name }
    this.write({ event: 'sse.gap', data, id: this.id() }, before)
  }

  announce (follower: ChannelReader, opening: StartPosition, before: string): void {
    if (follower !== this.follower) throw new Error('another follower was announced')
    this.given.push(...before.split('\n\n').slice(0, -1), { opening })
  }

  fellBehind ({ feed }: ChannelReader): void { this.#over(`lagging ${feed.settings.name}`) }
  channelEnded (follower: ChannelReader): void { this.#over(follower === this.follower ? 'ended' : 'another follower ended') }
  fail (error: unknown): void { this.#over(error) }
  close (): void { this.#over('closed') }

  #over (outcome: unknown): void {
    this.given.push(outcome)
    this.#settle(outcome)
  }
}
