import type { FastifyRequest } from 'fastify'
import type { FrameBatch } from './frame-batch.ts'
import type { StartPosition } from './start-position.ts'
import type { Scope } from '../scope.ts'

/** Whom a follower serves: a stream or a loop in this process, which may follow other channels too. */
export interface SubscriberContext<F> {
  /** Whether it follows this channel alone. */
  readonly alone: boolean
  /** The entries passed over since the client's last position, as a share of the history; 0: none. See shareOf. */
  unreported: number
  /** The id that says where it stands in all channels. Whoever asks tells the client. */
  id: () => string
  /** A frame with that id when events were passed over; else nothing. It goes before the next event, whose offset would else be a jump (R9). */
  checkpoint: () => string
  /** Whether another event has room now. */
  hasRoom: () => boolean
  /** An event of any kind, still to be checked and written, and what goes in front of it. */
  write: (event: unknown, before?: string) => void
  /** Whether it has a use for frames; if not, it takes each event as an object. */
  readonly writes: boolean
  /** Frames as they are, of so many events. */
  writeFrames: (frames: string | FrameBatch, events: number) => void
  /** The follower has come to the end of its log, where the channel goes on. */
  arrived: (follower: F) => void
  /** So many events are gone: it stands at that position now. */
  gap: (follower: F, dropped: number, position: number) => void
  /** The log began anew. `before` goes in front of what is said of it. */
  announce: (follower: F, opening: StartPosition, before: string) => void
  /** The follower fell off the log. */
  fellBehind: (follower: F) => void
  /** The channel is over, and everything was taken. */
  channelEnded: (follower: F) => void
  fail: (error: unknown) => void
  /** Nobody reads on. */
  close: () => void
}

/** Takes the events: a stream, or a loop in this process. */
export interface SubscriberSink {
  /** The request of a stream, and its scope. */
  readonly record?: { readonly request: FastifyRequest, readonly scope: Scope }
  hasRoom: () => boolean
  /** Whether it was taken, and not refused: only then the client has its id and the position before it. */
  write: (event: unknown, before: string) => boolean
  /** Frames as they are, of so many events. A party without this function takes events. */
  writeFrames?: (frames: string | FrameBatch, events: number) => void
  /** No event will come. */
  respondNoContent: () => void
  channelEnded: () => void
  fellBehind: (channel: string) => void
  /** The subscriber's own signal aborted, or the channel is closed. */
  complete: () => void
  fail: (error: unknown) => void
}
