import type { HeldMembers, LogRecord } from './log.ts'

interface Holder {
  /** The members in the order of their `add`. */
  readonly members: Set<string>
  /** The end of its lease. */
  until: number
  fingerprint: string | undefined
}

/** Which holder holds which members, for `hold` and `members` of a log. Times are those of one clock. */
export class MemberTable {
  readonly #holders = new Map<string, Holder>()
  /** The number of holders of each member. */
  readonly #counts = new Map<string, number>()

  get members (): string[] { return [...this.#counts.keys()] }

  /** Ends the leases that have expired. Returns the records of the members that left. */
  expire (now: number): LogRecord[] {
    const records: LogRecord[] = []
    for (const [name, { members, until, fingerprint }] of this.#holders) {
      if (until > now) continue
      this.#holders.delete(name)
      for (const member of members) this.#leave(member, fingerprint, records)
    }
    return records
  }

  /**
   * Changes the members of a holder, as `hold` of a log does. Call `expire` with the same `now` before it. Returns
   * whether the holder had a lease, and the records of the members that joined or left.
   */
  hold (
    name: string,
    { add, remove, fingerprint }: HeldMembers,
    until: number
  ): { held: boolean, records: LogRecord[] } {
    const records: LogRecord[] = []
    const found = this.#holders.get(name)
    const { members } = found ?? { members: new Set<string>() }
    this.#holders.set(name, { members, until, fingerprint })
    for (const member of add) {
      if (members.has(member)) continue
      members.add(member)
      const count = this.#counts.get(member) ?? 0
      this.#counts.set(member, count + 1)
      if (count === 0) records.push(recordOf('join', member, fingerprint))
    }
    for (const member of remove) if (members.delete(member)) this.#leave(member, fingerprint, records)
    return { held: found !== undefined, records }
  }

  #leave (member: string, fingerprint: string | undefined, records: LogRecord[]): void {
    const left = this.#counts.get(member)! - 1
    if (left > 0) {
      this.#counts.set(member, left)
    } else {
      this.#counts.delete(member)
      records.push(recordOf('leave', member, fingerprint))
    }
  }
}

function recordOf (event: 'join' | 'leave', data: string, fingerprint: string | undefined): LogRecord {
  return { event, data, json: true, fingerprint }
}
