import type { Database } from './database.ts'
import type { SealedHead } from './entry-seal.ts'
import type { TailReader } from './tail-reader.ts'
import type { TurnQueue } from './turn-queue.ts'

/** The part of a log that the timer and the notifications of its node use. */
export interface OpenLog {
  readonly listens: boolean
  readonly nameHash: string
  tick: (now: number) => void
  check: () => void
  onNotification: (newest: number, changed: boolean, head?: SealedHead) => void
}

/** Shared by the logs of one `postgresLog`. */
export interface PostgresContext {
  readonly database: Database
  readonly appends: TurnQueue
  readonly reader: TailReader
  /** Milliseconds until an append is rejected. */
  readonly timeout: number
  /** The tails that begin, by the name of the channel. */
  readonly starting: Map<string, Promise<void>>
  /** All open logs. */
  readonly open: Set<OpenLog>
  /** Called when a log begins to listen, knows its hash, ends to listen, or is closed. */
  readonly onChange: (log: OpenLog) => void
}
