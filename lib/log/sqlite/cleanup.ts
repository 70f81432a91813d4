import { KEY_DURATION } from '../log.ts'
import * as sql from './statements.ts'
import type { Store } from './store.ts'

/** Milliseconds for which an empty channel stays in the file: a client that missed no event is not reset. */
const META_TTL = 3_600_000
// Channels, keys and events per step: a step takes some milliseconds.
const CHANNELS = 100
const KEYS = 1_000
const EVENTS = 2_000

type ExpiredRow = [id: number, name: string, age: number, usedAt: number]

/** Deletes the events of closed channels after their age, and the channels an hour later. Deletes expired keys. */
export class Cleanup {
  readonly #store: Store

  constructor (store: Store) {
    this.#store = store
  }

  /** Deletes a part, in one transaction. Returns whether there may be more. */
  step (now = this.#store.now): boolean {
    return this.#store.transaction(() => {
      const row = this.#store.get(sql.FIND_EXPIRED, now, CHANNELS)
      const channels = JSON.parse(String(row?.channels)) as ExpiredRow[]
      let events = EVENTS
      for (const channel of channels) events -= this.#expire(channel, now, events)
      const expired = now - KEY_DURATION
      const hasKeys = this.#store.get(sql.FIND_EXPIRED_KEY, expired) !== undefined
      if (hasKeys) this.#store.run(sql.DELETE_KEYS, expired, KEYS)
      return hasKeys || channels.length === CHANNELS || events <= 0
    })
  }

  /** Deletes the events of a channel, up to a number, or the channel. Returns how many events it has deleted. */
  #expire ([id, name, age, usedAt]: ExpiredRow, now: number, limit: number): number {
    const emptyAt = usedAt + age
    if (this.#store.has(name)) this.#expireAt(id, now + age)
    else if (emptyAt > now) this.#expireAt(id, emptyAt)
    else {
      const first = this.#store.get(sql.FIRST_EVENT, id)
      if (first === undefined) {
        if (emptyAt + META_TTL > now) this.#expireAt(id, emptyAt + META_TTL)
        else for (const statement of sql.DELETE_CHANNEL) this.#store.run(statement, id)
      } else if (limit > 0) return this.#deleteEvents(id, Number(first.number), limit)
    }
    return 0
  }

  #deleteEvents (id: number, first: number, limit: number): number {
    const last = Number(this.#store.get(sql.LAST_EVENT, id)?.number)
    this.#store.run(sql.SET_COUNTERS, id)
    this.#store.run(sql.DELETE_EVENTS, id, Math.min(first + limit, last + 1))
    return Math.min(limit, last + 1 - first)
  }

  #expireAt (id: number, time: number): void {
    this.#store.run(sql.SET_EXPIRES, time, id)
  }
}
