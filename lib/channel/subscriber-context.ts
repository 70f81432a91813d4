import type { FastifyRequest } from 'fastify'
import type { Chunk } from './frame-batch.ts'
import type { Opening } from './start-position.ts'
import type { Scope } from '../scope.ts'

/** Whom a follower serves: a stream or a loop in this process, which may follow other channels too. */
export interface Party<F> {
  /** Whether it follows this channel alone. */
  readonly alone: boolean
  /** The entries passed over since the client's last position, as a share of the history; 0: none. See shareOf. */
  untold: number
  /** The id that says where it stands in all channels. Whoever asks tells the client. */
  id: () => string
  /** A frame with that id when events were passed over; else nothing. It goes before the next event, whose offset would else be a jump (R9). */
  checkpoint: () => string
  /** Whether another event has room now. */
  wants: () => boolean
  /** An event of any kind, still to be checked and written, and what goes in front of it. */
  take: (event: unknown, before?: string) => void
  /** Whether it has a use for frames; if not, it takes each event as an object. */
  readonly writes: boolean
  /** Frames as they are, of so many events. */
  write: (frames: string | Chunk, events: number) => void
  /** The follower has come to the end of its log, where the channel goes on. */
  arrived: (follower: F) => void
  /** So many events are gone: it stands at that position now. */
  gap: (follower: F, dropped: number, position: number) => void
  /** The log began anew. `before` goes in front of what is said of it. */
  announce: (follower: F, opening: Opening, before: string) => void
  /** The follower fell off the log. */
  lagging: (follower: F) => void
  /** The channel is over, and everything was taken. */
  ended: (follower: F) => void
  failed: (error: unknown) => void
  /** Nobody reads on. */
  close: () => void
}

/** Takes the events: a stream, or a loop in this process. */
export interface Outlet {
  /** The request of a stream, and its scope. */
  readonly account?: { readonly request: FastifyRequest, readonly scope: Scope }
  wants: () => boolean
  /** Whether it was taken, and not refused: only then the client has its id and the position before it. */
  take: (event: unknown, before: string) => boolean
  /** Frames as they are, of so many events. A party without this function takes events. */
  write?: (frames: string | Chunk, events: number) => void
  /** No event will come. */
  nothing: () => void
  ended: () => void
  lagging: (channel: string) => void
  /** The subscriber's own signal aborted, or the channel is closed. */
  done: () => void
  failed: (error: unknown) => void
}
