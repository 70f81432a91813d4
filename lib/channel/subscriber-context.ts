import type { FastifyRequest } from 'fastify'
import type { FrameBatch } from './frame-batch.ts'
import type { StartPosition } from './start-position.ts'
import type { Scope } from '../scope.ts'
import type { WireFormat } from '../wire/format.ts'

/** Receives frames as they are. */
export interface FrameSink {
  /** `events` is the number of events in the frames. */
  writeFrames: (frames: string | FrameBatch, events: number) => void
}

/** The subscriber of a channel reader: a stream, or a loop in this process. It may also subscribe to other channels. */
export interface SubscriberContext<R> {
  /** Whether the subscriber has this channel only. */
  readonly singleChannel: boolean
  /** Receives frames; undefined if the subscriber receives each event as an object. */
  readonly frames: FrameSink | undefined
  /** The format of the frames. */
  readonly format: WireFormat
  /** Whether positions without an event are left out. */
  readonly omitsPositions: boolean
  /** The request of a stream; undefined for a loop. */
  readonly record: RequestScope | undefined
  /** The entries dropped since the client's last position, as a share of the history; 0: none. See historyShare. */
  droppedShare: number
  /** Returns the id of the positions in all channels. The caller sends it to the client. */
  id: () => string
  /**
   * Returns a frame with that id if entries were dropped, else ''. It precedes the next event, whose offset would
   * otherwise be a jump (R9).
   */
  checkpoint: () => string
  /** Whether there is room for another event. */
  hasRoom: () => boolean
  /** Validates, serializes and sends any event, after the frames in `before`. */
  write: (event: unknown, before?: string) => void
  /** Sends the position without an event, if the client gets such positions. */
  writePosition: () => void
  /** Called when the reader reached the end of its log and the channel is open. */
  caughtUp: (reader: R) => void
  /** Called when `dropped` events are lost: the reader moves to that position. */
  gap: (reader: R, dropped: number, position: number) => void
  /** Called when the log began a new epoch. `before` precedes the notice. */
  announce: (reader: R, start: StartPosition, before: string) => void
  /** Called when the next entry of the reader was evicted. Stops the reader. */
  fellBehind: (reader: R) => void
  /** Called when the channel ended and the reader delivered every entry. Stops the reader. */
  channelEnded: (reader: R) => void
  fail: (error: unknown) => void
  /** Called when the channel is closed in this process. */
  close: () => void
}

/** The request of a stream, and the scope in which the diagnostics of the stream are published. */
export interface RequestScope { readonly request: FastifyRequest, readonly scope: Scope }

/** Receives the events of a subscriber: a stream, or a loop in this process. */
export interface SubscriberSink extends Partial<FrameSink> {
  /** The request of a stream; undefined for a loop. */
  readonly record?: RequestScope
  /** The format of the frames. Default: Server-Sent Events. */
  readonly format?: WireFormat
  /** Whether the head of a stream is sent, after which `opened()` of the subscriber is called; undefined for a loop. */
  readonly isOpen?: boolean | undefined
  hasRoom: () => boolean
  /** Whether positions without an event are left out. */
  readonly omitsPositions?: boolean
  /** Returns whether the event was accepted: only then the client has its id and the position before it. */
  write: (event: unknown, before: string) => boolean
  /** Called when every event that was stored at the start is written, and every channel is open. */
  caughtUp?: () => void
  /** Called when no event will follow: the client has all of them. */
  respondNoContent: () => void
  /** `failed`: whether a channel ended with an error. */
  channelEnded: (failed: boolean) => void
  fellBehind: (channel: string) => void
  /** Called when the subscriber's own signal aborted, or the channel is closed. */
  complete: () => void
  fail: (error: unknown) => void
}
