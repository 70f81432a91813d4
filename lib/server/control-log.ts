import type { FastifyBaseLogger } from 'fastify'
import { clearTimeout, setTimeout } from '../clock.ts'
import { logSafely } from '../log-safely.ts'
import type { EventLog, LogEntry, LogPosition, LogRecord } from '../log/log.ts'

export interface ControlLogSetup {
  log: EventLog
  /**
   * Receives each message that is sent after `start()`, once and in order. It throws for a message that it cannot read.
   */
  listener: (message: LogEntry) => void
  logger: FastifyBaseLogger
}

/** Milliseconds until the next attempt after the log failed. */
const RETRY_DELAY = 1_000
/** Messages per read of the log. */
const BATCH = 100

/** Messages between nodes, in an event log that no channel of a user can have. */
export class ControlLog {
  readonly #setup: ControlLogSetup
  /** The position of the last message for the listener. Undefined until the log has returned its state. */
  #last: LogPosition | undefined
  #stopTail: (() => void) | undefined
  #reading = false
  #readAgain = false
  #retry: NodeJS.Timeout | undefined
  #closed = false

  constructor (setup: ControlLogSetup) {
    this.#setup = setup
  }

  /** Appends a message. Resolves when the log has stored it. */
  async send (record: LogRecord): Promise<void> {
    await this.#setup.log.append(record)
  }

  /** Passes each message that is sent from now on to the listener, until `close()`. */
  start (): void {
    try {
      // The tail only signals new entries. The messages are read from the log.
      this.#stopTail = this.#setup.log.tail(() => { this.#readAll() })
      this.#readAll()
    } catch (err) {
      this.#retryLater(err)
    }
  }

  close (): void {
    this.#closed = true
    clearTimeout(this.#retry)
    this.#stopTail?.()
    this.#setup.log.close()
  }

  async #readAll (): Promise<void> {
    this.#readAgain = this.#reading
    if (this.#reading) return
    this.#reading = true
    try {
      do {
        this.#readAgain = false
        await this.#read()
      } while (this.#readAgain && !this.#closed)
    } catch (err) {
      if (!this.#closed) this.#retryLater(err)
    }
    this.#reading = false
  }

  async #read (): Promise<void> {
    const { log } = this.#setup
    if (this.#last === undefined) {
      const { epoch, newest } = await log.state()
      this.#last = { epoch, offset: newest }
      return
    }
    for (let more = true; more && !this.#closed;) {
      const { epoch, newest, entries } = await log.read(this.#last.offset, BATCH)
      if (this.#closed) return
      more = this.#last.epoch !== epoch || (entries.at(-1)?.offset ?? newest) < newest
      if (this.#last.epoch === epoch) this.#deliver(entries, newest)
      // The log began a new epoch: all of its messages are new.
      else this.#last = { epoch, offset: 0 }
    }
  }

  #deliver (entries: readonly LogEntry[], newest: number): void {
    const { listener, logger } = this.#setup
    const { epoch, offset } = this.#last!
    const missed = (entries[0]?.offset ?? newest + 1) - offset - 1
    if (missed > 0) {
      logSafely(logger, 'error', { missed },
        'sse messages of other nodes were evicted from the log before they were read')
    }
    this.#last = { epoch, offset: entries.at(-1)?.offset ?? newest }
    for (const entry of entries) {
      try {
        listener(entry)
      } catch (err) {
        logSafely(logger, 'error', { err, offset: entry.offset }, 'sse message of another node is malformed')
      }
    }
  }

  /** Retries after a delay, from the last message on. It also repeats a call of `tail` that failed. */
  #retryLater (err: unknown): void {
    logSafely(this.#setup.logger, 'error', { err }, 'sse messages of other nodes cannot be read: retrying')
    this.#stopTail?.()
    this.#retry = setTimeout(() => this.start(), RETRY_DELAY).unref()
  }
}
