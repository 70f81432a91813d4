import { Type, type Static } from '@sinclair/typebox'
import type { ChannelOptions } from '../../lib/index.ts'

const payload = Type.Object({
  /** Which life of which node: a number that no other has. */
  publisher: Type.Integer(),
  channel: Type.Integer(),
  /** 1, 2, 3 … of this publisher, over all channels. */
  number: Type.Integer(),
  padding: Type.String()
})

export type Payload = Static<typeof payload>
export const EVENTS = { tick: payload }
export type Options = ChannelOptions<typeof EVENTS> & { history: { maxEvents: number } }

interface ChannelPlan {
  name: string
  options: Options
  /** Its events are large and its history short: who stalls there falls behind what is kept. */
  wide: boolean
}

/** How many channels have a history that nobody outlives. */
export const ORDINARY = 20
/** Together with a few others, more than the kernel keeps for a connection whose client does not read. */
export const PADDING = 'x'.repeat(64 * 1024)

const LONG = { maxEvents: 20_000, maxBytes: 64e6, maxAge: 3_600_000 }
const SHORT = { maxEvents: 20, maxBytes: 64e6, maxAge: 3_600_000 }

/** All channels, by number: the ordinary ones, then the wide ones, one for each way to treat a slow reader. */
export const CHANNELS: readonly ChannelPlan[] = [
  ...Array.from({ length: ORDINARY }, (_, index) => ({ name: `ordinary ${index}`, options: { events: EVENTS, history: LONG }, wide: false })),
  { name: 'wide, skipping', options: { events: EVENTS, history: SHORT, slowConsumer: 'skip' }, wide: true },
  { name: 'wide, disconnecting', options: { events: EVENTS, history: SHORT, slowConsumer: 'disconnect' }, wide: true }
]

/** The numbers of the wide ones. */
export const WIDE = CHANNELS.flatMap(({ wide }, index) => wide ? index : [])
