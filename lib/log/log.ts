/** An event to append, already validated and serialized. */
export interface LogRecord {
  /** The name of the event; `message` for an event without one. */
  readonly event: string
  /** The data as the client receives it. */
  readonly data: string
  /** Whether `data` is JSON or plain text. */
  readonly json: boolean
  /**
   * Names the schema that serialized the record: at most 64 ASCII letters, digits, `-` and `_`. The log stores it. A
   * process that reads an entry without a fingerprint, or with one of another schema, validates and serializes it again
   * before sending.
   */
  readonly fingerprint?: string | undefined
}

/** An event in a log. */
export interface LogEntry extends LogRecord {
  /** 1, 2, 3 … within its epoch. */
  readonly offset: number
}

/** A position in one sequence of offsets. */
export interface LogPosition { readonly epoch: string, readonly offset: number }

/** The position of a record that was appended with a key. */
export interface KeyedPosition extends LogPosition {
  /** Whether this call appended the record; false: an earlier call with the key did. */
  readonly appended: boolean
}

/** The members that a holder begins to hold, and those that it holds no longer. No member is in both. */
export interface HeldMembers {
  readonly add: readonly string[]
  readonly remove: readonly string[]
  /** Names the schema of the entries, as in `LogRecord`. */
  readonly fingerprint?: string | undefined
}

/** The state of a log. */
export interface LogState {
  /**
   * At most 32 ASCII letters and digits, random: no two logs share an epoch, and a log that lost its history has a new
   * one.
   */
  readonly epoch: string
  /** The first offset that can be read; `newest + 1` if there is none. */
  readonly oldest: number
  /** The last assigned offset; 0 before the first append. */
  readonly newest: number
  /** Whether the log has ended: `newest` is its last entry. */
  readonly ended: boolean
}

/** The status of a log for the runs on it, as `peek` returns it. */
export interface LogStatus extends Omit<LogState, 'oldest'> {
  /** The outcome that the first call of `end` gave; undefined before it, or if it gave none. */
  readonly outcome?: string | undefined
  /** The first owner of a lease of this epoch; undefined: there was no lease yet. */
  readonly owner?: string | undefined
  /** Whether an owner holds the lease now. */
  readonly leased: boolean
}

/** Consecutive entries of a log, and its state when they were read. */
export interface LogBatch extends Omit<LogState, 'oldest'> {
  /** In order, with no gaps. */
  readonly entries: readonly LogEntry[]
}

/** The limits of a history: entries beyond one of them are evicted, oldest first. */
export interface HistoryLimits {
  /** The number of events. 0: none. */
  readonly maxEvents: number
  /** Bytes of their names and data, as UTF-8. */
  readonly maxBytes: number
  /** Milliseconds since the append; Infinity: no limit. */
  readonly maxAge: number
}

/**
 * Stores the entries of one channel: an ordered sequence that many nodes may append to and read. Methods of a remote
 * log return promises. They retry while the store is unreachable and reject only on permanent errors. `append` and
 * `end` may time out; then it is unknown whether they took effect. An entry can be read as soon as it was acknowledged
 * or delivered to a listener.
 */
export interface EventLog {
  /**
   * Assigns the next offset to the record, stores it and returns its position: one order for all nodes. Fails with
   * FST_SSE_CHANNEL_ENDED after the end.
   */
  append: (record: LogRecord) => LogPosition | Promise<LogPosition>
  /**
   * Returns up to `limit` entries after an offset (at least one, if there is one), starting with the oldest stored
   * entry. If the first is not `after + 1`, the entries between were evicted. If there is none and `newest` is greater,
   * all of them were evicted.
   */
  read: (after: number, limit: number) => LogBatch | Promise<LogBatch>
  state: () => LogState | Promise<LogState>
  /**
   * Notifies the listener of all entries appended from now on by any node: each entry once and in order. A lost entry
   * is a gap in the offsets. Also notifies it of the end of the log, as a batch with `ended`, and of a new epoch.
   * Returns a function that removes the listener. Entries appended after a later `state()` has answered are delivered
   * even if the history keeps none. The listener may be called within `append` and `end`, but never within `tail`. It
   * does not throw.
   */
  tail: (listener: (batch: LogBatch) => void) => () => void
  /**
   * Ends the log: no entry can be appended. `last` is appended in the same step. A call for a log that has ended has no
   * effect, and appends nothing. `outcome`: at most 64 ASCII letters, digits, `-` and `_`, for `peek`. A log without
   * `peek` may ignore both arguments.
   */
  end: (last?: LogRecord, outcome?: string) => void | Promise<void>
  /**
   * Returns the status of the log without creating or keeping anything in the store; undefined if there is no such log.
   * Runs need this method and `lease`; a log without both serves channels alone.
   */
  peek?: () => LogStatus | undefined | Promise<LogStatus | undefined>
  /**
   * Acquires or renews the lease for `duration` milliseconds by the clock of the store, if it is free, expired, or held
   * by that owner. 0 releases it. Returns whether the owner holds the lease, or has released it. The log keeps the
   * first owner of its epoch. The end of the log releases the lease, and there is no lease after it. `owner`: at most
   * 64 ASCII letters, digits, `-` and `_`. A lease keeps a log no longer than its history.
   */
  lease?: (owner: string, duration: number) => boolean | Promise<boolean>
  /**
   * Appends the record, unless a call with that key, on any node, has appended one within the last `KEY_DURATION`
   * milliseconds by the clock of the store, in this epoch: returns the position of that record, also if it was evicted,
   * and after the end. `key`: 1 to 256 characters, without control characters. Two calls at once append one record.
   */
  appendOnce?: (record: LogRecord, key: string) => KeyedPosition | Promise<KeyedPosition>
  /**
   * Appends the record when the transaction of `client`, a connection of the user, is committed, and never if it is
   * rolled back. `key` as for `appendOnce`. Settles within the transaction: the position is not known yet.
   */
  appendIn?: (client: unknown, record: LogRecord, key?: string) => Promise<void>
  /**
   * Changes the members that a holder holds, and sets the end of its lease to `duration` milliseconds from now by the
   * clock of the store. A holder whose lease has ended holds nothing. A member that gets its first holder is appended
   * as the entry `join`, a member that loses its last one as `leave`; a member is the data of these entries, as JSON
   * text. All is one atomic step: the leaves of expired leases, the joins in the order of `add`, then the leaves in the
   * order of `remove`. To add a held member, or to remove another one, has no effect. Returns false if the holder had
   * no lease: then it holds `add` alone. `holder`: at most 64 ASCII letters, digits, `-` and `_`.
   */
  hold?: (holder: string, change: HeldMembers, duration: number) => boolean | Promise<boolean>
  /** Returns the members that are held, in any order. First it ends the leases that have expired, as `hold` does. */
  members?: () => readonly string[] | Promise<readonly string[]>
  /**
   * Returns true if closing the log loses nothing that a client may still request. It is called regularly, so it is
   * also the time to evict old entries.
   */
  isIdle: () => boolean
  /**
   * Releases all resources of this process. A shared log stays open for other nodes. Appends under way settle; later
   * calls of `append` and `appendOnce` fail with FST_SSE_CLOSING.
   */
  close: () => void
}

/** Milliseconds for which a log keeps the key of an append. */
export const KEY_DURATION = 600_000

/** Opens the log of a channel. On a shared store, two nodes that use one name open one log. */
export interface EventLogFactory {
  (name: string, history: HistoryLimits): EventLog
  /**
   * Returns the name of the log with this epoch, on any node; undefined if there is none. `app.sse.locate` needs it.
   */
  locate?: ((epoch: string) => string | undefined | Promise<string | undefined>) | undefined
  /**
   * Releases shared resources of the logs, such as a file, unless a log is open. The next log opens it again. A server
   * calls it when its logs are closed, and waits five seconds at most.
   */
  close?: (() => void | Promise<void>) | undefined
}

/** A log with the methods that runs need. */
export type RunLog = EventLog & Required<Pick<EventLog, 'peek' | 'lease'>>

/** A log with the methods that presence needs. */
export type MemberLog = EventLog & Required<Pick<EventLog, 'hold' | 'members'>>
