/** What is appended: one event, already checked and written. */
export interface LogRecord {
  /** The event's name; `message` for one without. */
  readonly event: string
  /** Its data as the client gets it. */
  readonly data: string
  /** Whether `data` is JSON, or plain text. */
  readonly json: boolean
  /**
   * Names the schema that wrote the record: at most 64 ASCII letters, digits, `-` and `_`. The log keeps it. A process
   * checks an entry without a fingerprint, or with another one than its own, and writes it anew before it sends it.
   */
  readonly fingerprint?: string | undefined
}

/** One event in a log. */
export interface LogEntry extends LogRecord {
  /** 1, 2, 3 … within its epoch. */
  readonly offset: number
}

/** Where in which log. */
export interface LogPosition { readonly epoch: string, readonly offset: number }

/** What a log holds. */
export interface LogState {
  /** ASCII letters and digits, at most 32, random: no two logs share one, and a log that lost its history gets another. */
  readonly epoch: string
  /** The first offset that can still be read; `newest + 1` when there is none. */
  readonly oldest: number
  /** The last offset given; 0 before the first. */
  readonly newest: number
  /** Nothing comes after `newest`. */
  readonly ended: boolean
}

/** A piece of a log, and how far the log went when it was cut. */
export interface LogBatch extends Omit<LogState, 'oldest'> {
  /** In order, without a gap between them. */
  readonly entries: readonly LogEntry[]
}

/** How much a log keeps: whatever goes beyond one of these leaves it, oldest first. */
export interface HistoryLimits {
  /** How many events. 0: none. */
  readonly maxEvents: number
  /** Bytes of their names and data, as UTF-8. */
  readonly maxBytes: number
  /** Milliseconds since the append; Infinity: no limit. */
  readonly maxAge: number
}

/**
 * Where one channel keeps its events: an ordered sequence that many nodes may append to and read. A method that has to
 * ask elsewhere answers with a promise. It rejects only when asking again is of no use: a store that is away for a
 * while is waited for. `append` and `end` may give up after a time, and then nobody knows whether they were done. What has been answered or told can be read from then on.
 */
export interface EventLog {
  /**
   * Gives the record the next offset, keeps it and answers with its position: one order, whoever appends.
   * FST_SSE_CHANNEL_ENDED after the end.
   */
  append: (record: LogRecord) => LogPosition | Promise<LogPosition>
  /**
   * Up to `limit` entries (at least one where there is one) that come after an offset, from the oldest that is left. When the first of them is not
   * `after + 1`, what lies between has left the log; so has everything when there is none and `newest` is greater.
   */
  read: (after: number, limit: number) => LogBatch | Promise<LogBatch>
  state: () => LogState | Promise<LogState>
  /**
   * Tells of everything that is appended from now on, by whichever node: each entry once and in order, or a gap that
   * the offsets show. The end of the log is told too, as a batch with `ended`, and so is a new epoch. Returns what stops it.
   * What is appended after a later `head()` has answered is told as entries, also where the history is none. The listener may be called within `append` and `end`, never within `tail`. It does not throw.
   */
  tail: (listener: (batch: LogBatch) => void) => () => void
  /** Nothing is appended from now on. Ending twice is ending once. */
  end: () => void | Promise<void>
  /** True when closing it loses nothing that somebody may still ask for. It is asked now and then: a time to let go of what is too old. */
  isIdle: () => boolean
  /** Lets go of everything that it holds here. A log of many nodes goes on for the others. */
  close: () => void
}

/** Opens the log of a channel. What two nodes open by one name is one log, where the store is shared. */
export type EventLogFactory = (name: string, history: HistoryLimits) => EventLog
