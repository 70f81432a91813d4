import type { ChannelOptions } from 'fastify-typed-sse'

interface ChannelPlan {
  name: string
  options: ChannelOptions
  /**
   * Large events and a short history: a stalled client fills the kernel's buffers, stalls its stream, or falls behind
   * the history.
   */
  wide: boolean
  /** The factor for its rate, relative to the other channels. */
  pace: number
}

const LONG = { maxEvents: 1_000, maxBytes: 64e6, maxAge: 3_600_000 }
const SHORT = { maxEvents: 12, maxBytes: 64e6, maxAge: 3_600_000 }

export const PADDING = 64 * 1024

/** All channels. Most are ordinary; a quiet one sends mostly heartbeats. */
export const CHANNELS: readonly ChannelPlan[] = [
  ...Array.from({ length: 18 },
    (_, index) => ({ name: `ordinary ${index}`, options: { history: LONG }, wide: false, pace: 1 })),
  ...Array.from({ length: 2 },
    (_, index) => ({ name: `quiet ${index}`, options: { history: LONG }, wide: false, pace: 0.05 })),
  { name: 'wide, skipping', options: { history: SHORT, slowConsumer: 'skip' }, wide: true, pace: 3 },
  { name: 'wide, disconnecting', options: { history: SHORT, slowConsumer: 'disconnect' }, wide: true, pace: 3 }
]

// The share of all connections; two at least.
const WIDE_SHARE = 1 / 200

/** The channel of each of that many members. */
export function channelsOf (members: number): number[] {
  const wide = CHANNELS.flatMap((channel, index) =>
    channel.wide ? Array<number>(Math.max(2, Math.round(members * WIDE_SHARE))).fill(index) : []
  )
  const others = CHANNELS.flatMap((channel, index) => channel.wide ? [] : [index])
  return Array.from({ length: members }, (_, index) => wide[index] ?? others[index % others.length]!)
}
