import type { HeldMembers, LogRecord } from '../log.ts'
import { MemberTable } from '../member-table.ts'
import type { Rows } from './database.ts'
import type { Head } from './rows.ts'
import * as sql from './statements.ts'

/** The log whose members are stored. */
interface MemberHost {
  readonly head: Head | undefined
  /** Returns the state of a log that has not ended, created if there is none. */
  open: () => Head
  appendAll: (records: readonly LogRecord[]) => void
}

type HolderRow = [name: string, until: number, fingerprint: string | null]

/** The members of a log. They are in the file, too: those of a process that was killed leave with their leases. */
export class StoredMembers {
  readonly #store: Rows
  readonly #log: MemberHost
  #table: MemberTable | undefined

  constructor (log: MemberHost, store: Rows) {
    this.#log = log
    this.#store = store
  }

  /** A step: changes the members of a holder. Returns whether it had a lease. */
  hold (holder: string, change: HeldMembers, duration: number): boolean {
    const { now } = this.#store
    const { id } = this.#log.open()
    const table = this.#expired(id, now)
    const { held, records } = table.hold(holder, change, now + duration)
    this.#store.run(sql.INSERT_HOLDER, id, holder, now + duration, change.fingerprint ?? null)
    for (const member of change.add) this.#store.run(sql.INSERT_HELD, id, holder, member)
    for (const member of change.remove) this.#store.run(sql.DELETE_HELD, id, holder, member)
    this.#log.appendAll(records)
    return held
  }

  /** A step: returns the members. A log that has ended has none. */
  members (): readonly string[] {
    const { head } = this.#log
    return head === undefined || head.ended ? [] : this.#expired(head.id, this.#store.now).members
  }

  /** Forgets the members in memory, after the transaction of a step has failed. */
  rolledBack (): void {
    this.#table = undefined
  }

  /** Ends the leases that have expired. Returns the other members. */
  #expired (id: number, now: number): MemberTable {
    const table = this.#load(id)
    this.#store.run(sql.DELETE_EXPIRED_HELD, id, id, now)
    this.#store.run(sql.DELETE_EXPIRED_HOLDERS, id, now)
    this.#log.appendAll(table.expire(now))
    return table
  }

  #load (id: number): MemberTable {
    if (this.#table !== undefined) return this.#table
    const table = this.#table = new MemberTable()
    const holders = JSON.parse(String(this.#store.get(sql.FIND_HOLDERS, id)?.holders)) as HolderRow[]
    const held = JSON.parse(String(this.#store.get(sql.FIND_HELD, id)?.held)) as Array<[holder: string, member: string]>
    const membersOf = new Map<string, string[]>(holders.map(([name]) => [name, []]))
    for (const [holder, member] of held) membersOf.get(holder)?.push(member)
    for (const [name, until, fingerprint] of holders) {
      table.hold(name, { add: membersOf.get(name)!, remove: [], fingerprint: fingerprint ?? undefined }, until)
    }
    return table
  }
}
