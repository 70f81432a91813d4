import { setImmediate as turn } from 'node:timers/promises'
import { FrameBatch } from '../../lib/channel/frame-batch.ts'
import type { Cursor } from '../../lib/wire/cursor.ts'
import type { Feed } from '../../lib/channel/feed.ts'
import type { ChannelReader } from '../../lib/channel/channel-reader.ts'
import type { Pace } from '../../lib/channel/pace.ts'
import { readerOf } from '../../lib/channel/resolved-subscription.ts'
import type { StartPosition } from '../../lib/channel/start-position.ts'
import type { FrameSink, SubscriberContext } from '../../lib/channel/subscriber-context.ts'
import { EVENT_STREAM, type WireFormat } from '../../lib/wire/format.ts'
import type { Projection } from '../../lib/channel/projection.ts'

/** The projection of a subscriber that receives everything. */
export const ALL: Projection = { filter: undefined, map: undefined, snapshot: undefined, start: 'latest' }

interface TestSubscriberOptions {
  projection?: Partial<Projection>
  pace?: Pace
  omitsPositions?: boolean
  /** False: every event is received as an object. */
  frames?: boolean
  singleChannel?: boolean
  format?: WireFormat
}

/** The subscriber of one reader: records its events in order, and lets the test set its room. */
export class TestSubscriber implements SubscriberContext<ChannelReader> {
  readonly singleChannel: boolean
  readonly frames: FrameSink | undefined
  readonly format: WireFormat
  readonly omitsPositions: boolean
  readonly record = undefined
  readonly reader: ChannelReader
  droppedShare = 0
  /** The number of further writes. */
  room = Infinity
  /** How often the reader reached the end of the log. */
  caughtUpCount = 0
  /** Frames, events as objects, and last the outcome as a word. */
  readonly received: unknown[] = []
  /** The batches among the received frames. */
  readonly batches: FrameBatch[] = []
  /** The start position; later announcements are in `received`. */
  startPosition: StartPosition | undefined
  /** Resolves to `ended`, `lagging <channel>` or the error that ended it. */
  readonly outcome: Promise<unknown>
  #settle!: (outcome: unknown) => void

  constructor (
    feed: Feed,
    { projection, pace, frames = true, singleChannel = true, format = EVENT_STREAM, omitsPositions = false }:
    TestSubscriberOptions = {}
  ) {
    this.singleChannel = singleChannel
    this.format = format
    this.omitsPositions = omitsPositions
    this.frames = frames ? this : undefined
    this.outcome = new Promise(resolve => { this.#settle = resolve })
    this.reader = readerOf({ feed, projection: { ...ALL, ...projection }, pace }, this)
  }

  writeFrames (frames: string | FrameBatch, events: number): void {
    this.room--
    if (typeof frames !== 'string') this.batches.push(frames)
    this.received.push(...(typeof frames === 'string' ? frames : frames.text).split('\n\n').slice(0, -1))
    if (this.received.length < events) throw new Error(`${events} events were announced`)
  }

  /** Sets the start position: synchronously, if the log answers synchronously. */
  open (cursor?: Cursor | 'malformed'): StartPosition | Promise<StartPosition> {
    const state = this.reader.attach()
    return state instanceof Promise
      ? state.then(state => this.reader.open(state, cursor))
      : this.reader.open(state, cursor)
  }

  /** Sets the start position and reads: in the next turn, if this one has lasted too long. */
  async start (cursor?: Cursor | 'malformed'): Promise<this> {
    const startPosition = this.open(cursor)
    this.startPosition = startPosition instanceof Promise ? await startPosition : startPosition
    this.reader.start()
    await turn()
    return this
  }

  /** Makes room for this number of writes. */
  async setRoom (room: number): Promise<void> {
    this.room = room
    this.reader.pull()
    await turn()
  }

  id (): string {
    this.droppedShare = 0
    return `${this.reader.epoch}-${this.reader.position}`
  }

  checkpoint (): string { return this.droppedShare === 0 || this.omitsPositions ? '' : this.format.control({ id: this.id() }) }
  caughtUp (): void { this.caughtUpCount++ }
  hasRoom (): boolean { return this.room > 0 }

  write (event: unknown, before = ''): void {
    this.room--
    this.received.push(...before.split('\n\n').slice(0, -1), event)
  }

  writePosition (): void { this.write({ id: this.id() }) }

  gap (reader: ChannelReader, dropped: number, position: number): void {
    const before = this.checkpoint()
    reader.position = position
    const data = this.singleChannel ? { dropped } : { dropped, channel: reader.feed.settings.name }
    this.write({ event: 'sse.gap', data, id: this.id() }, before)
  }

  announce (reader: ChannelReader, startPosition: StartPosition, before: string): void {
    if (reader !== this.reader) throw new Error('another reader was announced')
    this.received.push(...before.split('\n\n').slice(0, -1), { startPosition })
  }

  fellBehind (reader: ChannelReader): void {
    reader.stop()
    this.#end(`lagging ${reader.feed.settings.name}`)
  }

  channelEnded (reader: ChannelReader): void {
    reader.stop()
    this.#end(reader === this.reader ? 'ended' : 'another reader ended')
  }

  fail (error: unknown): void { this.#end(error) }
  close (): void { this.#end('closed') }

  #end (outcome: unknown): void {
    this.received.push(outcome)
    this.#settle(outcome)
  }
}
