import {
  checkBounds, checkClose, checkEnd, checkIdle, checkOrder, checkShared, checkTail, type OpenLog,
  type LogCheck
} from './checks.ts'
import { checkKeys, checkSharedKeys } from './key-checks.ts'
import type { EventLog, HistoryLimits, EventLogFactory } from './log.ts'
import { checkMemberLog, checkSharedMemberLog } from './member-checks.ts'
import { checkLocate, checkRunLog, checkSharedRunLog } from './run-checks.ts'

/** The part of a test context that `checkEventLog` needs. The contexts of tap and `node:test` have it. */
export interface Tester {
  test: (name: string, body: () => Promise<void>) => unknown
}

export interface CheckEventLogOptions {
  /**
   * Whether two calls of the factory with one name open the same log, as two nodes do on a shared store. Default false.
   */
  shared?: boolean | undefined
}

const HISTORY: HistoryLimits = { maxEvents: 1_000, maxBytes: 1_000_000, maxAge: Infinity }

let names = 0

/**
 * Tests the contract of `EventLog`, with the optional methods that the log has. A log that passes can store the entries
 * of channels, those of runs if it has `peek` and `lease`, appends by key if it has `appendOnce`, and members if it has
 * `hold` and `members`. No test calls `appendIn`, which needs a transaction. `make` returns the factory for
 * `app.register(sse, { eventLog: factory })`. Every run uses new channel names.
 *
 * ```ts
 * import t from 'tap'
 * await checkEventLog(t, () => myLog(client), { shared: true })
 * ```
 */
export async function checkEventLog (
  t: Tester,
  make: () => EventLogFactory | Promise<EventLogFactory>,
  { shared = false }: CheckEventLogOptions = {}
): Promise<void> {
  const open = await make()
  const run = Date.now().toString(36)

  const check: LogCheck = async (title, body, history = {}) => {
    await t.test(title, async () => {
      const number = ++names
      const opened: EventLog[] = []
      const openAgain: OpenLog = (suffix = '') => {
        const log = open(`checkEventLog ${run} ${number}${suffix}`, { ...HISTORY, ...history })
        opened.push(log)
        return log
      }
      try {
        await body(openAgain(), openAgain)
      } finally {
        for (const log of opened) log.close()
      }
    })
  }

  await checkOrder(check)
  await checkBounds(check)
  await checkTail(check)
  await checkIdle(check, shared)
  await checkEnd(check)
  await checkClose(check)
  if (shared) await checkShared(check)
  // A log without these methods serves channels.
  const sample = open(`checkEventLog ${run} ${++names}`, HISTORY)
  sample.close()
  if (sample.peek !== undefined) {
    await checkRunLog(check)
    if (shared) await checkSharedRunLog(check)
  }
  if (sample.appendOnce !== undefined) {
    await checkKeys(check)
    if (shared) await checkSharedKeys(check)
  }
  if (sample.hold !== undefined) {
    await checkMemberLog(check)
    if (shared) await checkSharedMemberLog(check)
  }
  if (open.locate !== undefined) await checkLocate(check, open.locate)
}
