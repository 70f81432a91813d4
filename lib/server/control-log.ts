import type { FastifyBaseLogger } from 'fastify'
import { clearTimeout, setTimeout } from '../clock.ts'
import { logSafely } from '../log-safely.ts'
import type { EventLog, LogEntry, LogPosition, LogRecord } from '../log/log.ts'

export interface ControlLogSetup {
  log: EventLog
  /**
   * Gets each message that is sent after `follow()`, once and in order. It throws for a message that it cannot read.
   */
  listener: (message: LogEntry) => void
  logger: FastifyBaseLogger
}

/** Milliseconds until the next attempt after the log failed. */
const PAUSE = 1_000
/** Messages per read of the log. */
const BATCH = 100

/** Messages between nodes. They have a log of their own, which is no channel: no name of a user leads to it. */
export class ControlLog {
  readonly #setup: ControlLogSetup
  /** The last message that the listener got. Undefined until the log has answered with its position. */
  #last: LogPosition | undefined
  #stopTail: (() => void) | undefined
  #reading = false
  #readAgain = false
  #retry: NodeJS.Timeout | undefined
  #closed = false

  constructor (setup: ControlLogSetup) {
    this.#setup = setup
  }

  /** Resolves when the log has the message. */
  async send (record: LogRecord): Promise<void> {
    await this.#setup.log.append(record)
  }

  /** Passes on each message that is sent from now on, until `close()`. */
  follow (): void {
    try {
      // The tail is only a reason to read: the messages come from the log.
      this.#stopTail = this.#setup.log.tail(() => { this.#look() })
      this.#look()
    } catch (err) {
      this.#failed(err)
    }
  }

  close (): void {
    this.#closed = true
    clearTimeout(this.#retry)
    this.#stopTail?.()
    this.#setup.log.close()
  }

  async #look (): Promise<void> {
    this.#readAgain = this.#reading
    if (this.#reading) return
    this.#reading = true
    try {
      do {
        this.#readAgain = false
        await this.#read()
      } while (this.#readAgain && !this.#closed)
    } catch (err) {
      if (!this.#closed) this.#failed(err)
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
      if (this.#last.epoch === epoch) this.#take(entries, newest)
      // The log lost its history: all of its messages are new.
      else this.#last = { epoch, offset: 0 }
    }
  }

  #take (entries: readonly LogEntry[], newest: number): void {
    const { listener, logger } = this.#setup
    const { epoch, offset } = this.#last!
    const missed = (entries[0]?.offset ?? newest + 1) - offset - 1
    if (missed > 0) logSafely(logger, 'error', { missed }, 'sse messages of other nodes left the log before they were read')
    this.#last = { epoch, offset: entries.at(-1)?.offset ?? newest }
    for (const entry of entries) {
      try {
        listener(entry)
      } catch (err) {
        logSafely(logger, 'error', { err, offset: entry.offset }, 'sse message of another node cannot be read')
      }
    }
  }

  /** Continues after the last message, after a pause. It also repeats a call of `tail` that failed. */
  #failed (err: unknown): void {
    logSafely(this.#setup.logger, 'error', { err }, 'sse messages of other nodes cannot be read now')
    this.#stopTail?.()
    this.#retry = setTimeout(() => this.follow(), PAUSE).unref()
  }
}
