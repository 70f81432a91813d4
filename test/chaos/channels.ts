import { Type, type Static } from '@sinclair/typebox'
import type { ChannelOptions } from '../../lib/index.ts'

const payload = Type.Object({
  /** The incarnation of a node: a unique number. */
  publisher: Type.Integer(),
  channel: Type.Integer(),
  /** The sequence number of this publisher, from 1, over all channels. */
  number: Type.Integer(),
  padding: Type.String()
})

export type Payload = Static<typeof payload>
export const EVENTS = { tick: payload }
export type Options = ChannelOptions<typeof EVENTS> & { history: { maxEvents: number } }

interface ChannelPlan {
  name: string
  options: Options
  /** Its events are large and its history is short, so a stalled client falls behind it. */
  wide: boolean
}

/** The number of channels whose history is longer than any absence. */
export const ORDINARY = 20
/** Together with a few others, more than the kernel buffers for a connection whose client does not read. */
export const PADDING = 'x'.repeat(64 * 1024)

const LONG = { maxEvents: 20_000, maxBytes: 64e6, maxAge: 3_600_000 }
const SHORT = { maxEvents: 20, maxBytes: 64e6, maxAge: 3_600_000 }

/** All channels, by number: the ordinary ones, then the wide ones, one for each `slowConsumer` policy. */
export const CHANNELS: readonly ChannelPlan[] = [
  ...Array.from({ length: ORDINARY },
    (_, index) => ({ name: `ordinary ${index}`, options: { events: EVENTS, history: LONG }, wide: false })),
  { name: 'wide, skipping', options: { events: EVENTS, history: SHORT, slowConsumer: 'skip' }, wide: true },
  { name: 'wide, disconnecting', options: { events: EVENTS, history: SHORT, slowConsumer: 'disconnect' }, wide: true }
]

/** The numbers of the wide channels. */
export const WIDE = CHANNELS.flatMap(({ wide }, index) => wide ? index : [])
