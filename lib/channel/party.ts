import type { Chunk } from './chunk.ts'
import type { Opening } from './opening.ts'

/** Whom a follower serves: a stream or a loop in this process, which may follow other channels too. */
export interface Party<F> {
  /** Whether it follows this channel alone. */
  readonly alone: boolean
  /** The id that says where it stands in all channels. */
  id: () => string
  /** In company, what is said of a channel says of which. */
  label: <D extends object>(follower: F, data: D) => D & { channel?: string }
  /** Whether another event has room now. */
  wants: () => boolean
  /** An event of any kind, still to be checked and written. */
  take: (event: unknown) => void
  /** Frames as they are, of so many events. Without it, each event is taken as an object. */
  write: ((frames: string | Chunk, events: number) => void) | undefined
  /** The log began anew. */
  announce: (follower: F, opening: Opening) => void
  /** The follower fell off the log. */
  lagging: (channel: string) => void
  /** The channel is over, and everything was taken. */
  ended: (follower: F) => void
  failed: (error: unknown) => void
  /** Nobody reads on. */
  close: () => void
}
