import { randomBytes } from 'node:crypto'
import { sharedScope } from '../../scope.ts'
import { timely } from '../timely.ts'
import { connectionOf, rowsOf, type PostgresClient, type PostgresPoolClient } from './client.ts'
import type { Database } from './database.ts'
import type { SealedHead } from './entry-seal.ts'

/** Listens to the notifications of a schema. */
export interface NotificationListener {
  /**
   * Called for each channel with new entries. `changed`: the log has ended, or has another epoch. `head`: if the
   * notification has entries.
   */
  onNotification: (nameHash: string, newest: number, changed: boolean, head?: SealedHead) => void
  /** Called when notifications may have been lost, and regularly while they cannot be received. */
  onLoss: () => void
}

export interface NotificationOptions {
  /** Returns a connection of its own that is not connected yet; undefined: a connection of the pool. */
  readonly listener: (() => PostgresClient) | undefined
  /** Milliseconds. */
  readonly pollInterval: number
  /** Milliseconds. A connection that receives no notification within this time is dead. */
  readonly probeTime?: number | undefined
  /** Milliseconds between two probes. */
  readonly probeInterval?: number | undefined
}

interface Link { connection: PostgresClient | PostgresPoolClient, close: () => void }

// Milliseconds between two attempts to connect, doubled up to the maximum.
const RETRY_DELAYS = [20, 1_000] as const
// Milliseconds until the next attempt where notifications do not arrive: a pooler may be in between.
const POOLER_DELAY = 60_000
const PROBE_TIME = 5_000
const PROBE_INTERVAL = 10_000

/**
 * Receives the notifications of a schema over one connection. A probe is a notification to itself, sent over another
 * connection: so a dead connection is found, and a pooler that delivers none. Meanwhile the listener is called
 * regularly.
 */
export class Notifications {
  readonly #database: Database
  readonly #options: NotificationOptions
  readonly #listener: NotificationListener
  /** The attempt under way, or the current connection. Another one replaces it after a stop. */
  #session: Session | undefined
  #poll: NodeJS.Timeout | undefined
  #warned = false

  constructor (database: Database, options: NotificationOptions, listener: NotificationListener) {
    this.#database = database
    this.#options = options
    this.#listener = listener
  }

  get listening (): boolean { return this.#session?.listening === true }

  start (): void {
    if (this.#session !== undefined) return
    const session = this.#session = new Session(this.#database, this.#options, this.#listener, () => this.#warn())
    const poll = (): void => { if (!session.listening) this.#listener.onLoss() }
    this.#poll = setInterval(poll, this.#options.pollInterval).unref()
    session.run()
  }

  stop (): void {
    clearInterval(this.#poll)
    this.#session?.stop()
    this.#session = undefined
  }

  #warn (): void {
    if (this.#warned) return
    this.#warned = true
    const { pollInterval } = this.#options
    process.emitWarning('No notification of PostgreSQL arrives, perhaps because of a pooler: ' +
      `postgresLog reads every ${pollInterval} milliseconds. Set its option 'listener'.`,
    { type: 'SseWarning', code: 'FST_SSE_LOG_POLLING' })
  }
}

class Session {
  listening = false
  readonly #database: Database
  readonly #options: NotificationOptions
  readonly #listener: NotificationListener
  readonly #onNone: () => void
  #stopped = false
  #link: Link | undefined
  #wake = (): void => {}
  /** The text of the probe under way. */
  #probe = { text: '', settle: (_received: boolean): void => {} }

  constructor (database: Database, options: NotificationOptions, listener: NotificationListener, onNone: () => void) {
    this.#database = database
    this.#options = options
    this.#listener = listener
    this.#onNone = onNone
  }

  async run (): Promise<void> {
    let delay: number = RETRY_DELAYS[0]
    while (!this.#stopped) {
      const received = await this.#listen()
      if (received === true) delay = RETRY_DELAYS[0]
      if (received === false) this.#onNone()
      await this.#pause(received === false ? POOLER_DELAY : delay)
      delay = Math.min(delay * 2, RETRY_DELAYS[1])
    }
  }

  stop (): void {
    this.#stopped = true
    this.listening = false
    this.#wake()
    this.#probe.settle(false)
    this.#link?.close()
  }

  /**
   * Listens until the connection is lost. Returns whether a notification has arrived; undefined if that is unknown,
   * because the database did not answer.
   */
  async #listen (): Promise<boolean | undefined> {
    const { probeTime = PROBE_TIME, probeInterval = PROBE_INTERVAL } = this.#options
    let received: boolean | undefined
    const state = { lost: false }
    try {
      const link = this.#link = await timely(isWanted => this.#connect(isWanted), probeTime, late)
      link.connection.on('notification', ({ payload }: { payload: string }) => this.#receive(payload))
      for (const event of ['error', 'end']) {
        link.connection.on(event, () => {
          state.lost = true
          this.#wake()
          this.#probe.settle(false)
        })
      }
      await timely(() => rowsOf(link.connection, `LISTEN "${this.#database.schema}"`), probeTime, late)
      while (!state.lost && !this.#stopped) {
        const probed = await this.#sendProbe(probeTime)
        if (state.lost || this.#stopped) break
        received ??= probed
        if (probed !== true) break
        if (!this.listening) {
          this.listening = true
          this.#listener.onLoss()
        }
        await this.#pause(probeInterval)
      }
    } catch {
      // Not reachable: the next attempt follows.
    }
    this.listening = false
    this.#link?.close()
    this.#link = undefined
    return received
  }

  async #connect (isWanted: () => boolean): Promise<Link> {
    const { listener } = this.#options
    let link: Link
    if (listener === undefined) {
      const connection = await connectionOf(this.#database.pool)
      // A connection that listens is not for other users of the pool.
      link = { connection, close: once(() => connection.release(true)) }
    } else {
      const connection = listener()
      connection.on('error', () => {})
      link = { connection, close: once(() => { connection.end().catch(() => {}) }) }
      await connection.connect()
    }
    if (!isWanted() || this.#stopped) link.close()
    return link
  }

  /** Returns whether a notification arrives; undefined if it cannot be sent. */
  async #sendProbe (time: number): Promise<boolean | undefined> {
    const text = `? ${randomBytes(9).toString('hex')}`
    const arrival = new Promise<boolean>(resolve => { this.#probe = { text, settle: resolve } })
    const { schema } = this.#database
    const notify = `SELECT pg_notify('${schema}', $1)`
    try {
      await timely(isWanted => this.#database.run(notify, [text], isWanted, true), time, late)
    } catch {
      return undefined
    }
    return await timely(() => arrival, time, late).catch(() => false)
  }

  #receive (payload: string): void {
    if (payload.startsWith('? ')) {
      if (payload === this.#probe.text) this.#probe.settle(true)
      return
    }
    const sealed = this.#database.seal?.parse(payload)
    if (sealed !== undefined) {
      for (const [index, head] of sealed.heads.entries()) {
        const { nameHash, newest } = head
        this.#listener.onNotification(nameHash, newest, false, { ...head, batch: () => sealed.batches()?.[index] })
      }
      return
    }
    const parts = payload.split(' ')
    for (let index = 0; index + 1 < parts.length; index += 2) {
      const text = parts[index + 1]!
      const newest = Number.parseInt(text, 10)
      if (Number.isSafeInteger(newest)) this.#listener.onNotification(parts[index]!, newest, text.endsWith('!'))
    }
  }

  #pause (time: number): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    return new Promise(resolve => {
      const timer = sharedScope.runInAsyncScope(setTimeout, undefined, resolve, time).unref()
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

const late = (): Error => new Error('PostgreSQL did not answer in time')

function once (step: () => void): () => void {
  let done = false
  return () => {
    if (!done) step()
    done = true
  }
}
