import type { Test } from 'tap'
import type { EventLog, EventLogFactory, HistoryLimits, LogRecord } from '../../lib/log/log.ts'
import { memoryLog } from '../../lib/log/memory.ts'
import { chances } from './chances.ts'

export interface LogModelOptions {
  /** The number of random sequences, each on logs of a new name. Default 20. */
  seeds?: number
  /** The first seed. Default 1. */
  first?: number
  /** The number of calls of each sequence. Default 40. */
  steps?: number
}

type Call = (log: EventLog) => object | Promise<object>

// No lease and no age ends during a sequence: the two logs have two clocks.
const LONG = 3_600_000

/**
 * Compares a log with the log in memory: random sequences of calls must get the same answers from both, up to the epoch
 * and the order of members. A method that the log lacks is not called.
 */
export async function compareWithMemory (
  t: Pick<Test, 'strictSame'>,
  open: EventLogFactory,
  { seeds = 20, first = 1, steps = 40 }: LogModelOptions = {}
): Promise<void> {
  for (let seed = first; seed < first + seeds; seed++) await compareOnce(t, open, seed, steps)
}

async function compareOnce (
  t: Pick<Test, 'strictSame'>,
  open: EventLogFactory,
  seed: number,
  steps: number
): Promise<void> {
  const dice = chances(seed)
  const one = <T>(...values: T[]): T => values[dice(values.length)]!
  const history: HistoryLimits = {
    maxEvents: one(0, 1, 7, 1_000),
    maxBytes: one(0, 60, 1_000, 1_000_000),
    maxAge: one(Infinity, LONG)
  }
  const name = `model ${seed} ${Math.random()}`
  const [log, model] = [open(name, history), memoryLog()(name, history)]
  const calls: string[] = []
  const same = async (title: string, call: Call): Promise<void> => {
    calls.push(title)
    const [got, expected] = await Promise.all([answerOf(log, call), answerOf(model, call)])
    if (!t.strictSame(got, expected, `seed ${seed}`)) throw new Error(`seed ${seed}: ${calls.join('; ')}`)
  }
  const record = (): LogRecord => ({
    event: one('message', 'é', 'a b', 'x'.repeat(20)),
    data: one('', '1', '€uro\n', '"a"', 'y'.repeat(50)),
    json: one(true, false),
    ...one({}, { fingerprint: 'aZ09-_' })
  })

  /** Calls that are under way at once: each gets its own position, in order. */
  const append = (): Promise<void> => {
    const added = Array.from({ length: 1 + dice(4) }, () => ({
      record: record(),
      key: log.appendOnce === undefined ? undefined : one(undefined, undefined, 'k', 'ключ', ' ', 'k'.repeat(256))
    }))
    return same(`append ${added.map(({ key }) => key?.slice(0, 4) ?? '-').join()}`, async log =>
      Promise.all(added.map(({ record, key }) =>
        answerOf(log, () => key === undefined ? log.append(record) : log.appendOnce!(record, key)))))
  }
  const read = (): Promise<void> => {
    const [after, limit] = [dice(30), 1 + dice(10)]
    return same(`read ${after} ${limit}`, log => log.read(after, limit))
  }
  const state = (): Promise<void> => same('state', log => log.state())
  const peek = (): Promise<void> => same('peek', async log => ({ status: { ...await log.peek!(), epoch: '' } }))
  const lease = (): Promise<void> => {
    const [owner, duration] = [one('me', 'you'), one(0, LONG)]
    return same(`lease ${owner} ${duration}`, async log => ({ leased: await log.lease!(owner, duration) }))
  }
  const hold = (): Promise<void> => {
    const holder = one('one', 'two', 'three')
    const parts = ['"a"', '"€"', '{"b": 1}', '"a b"'].map(member => ({ member, part: dice(3) }))
    const membersOf = (wanted: number): string[] =>
      parts.flatMap(({ member, part }) => part === wanted ? [member] : [])
    const change = { add: membersOf(0), remove: membersOf(1), ...one({}, { fingerprint: 'members' }) }
    return same(`hold ${holder} +${change.add.join()} -${change.remove.join()}`,
      async log => ({ held: await log.hold!(holder, change, LONG) }))
  }
  const members = (): Promise<void> => same('members', async log => ({ members: [...await log.members!()].sort() }))
  const end = (): Promise<void> => {
    const [last, outcome] = [one(undefined, record()), one(undefined, 'complete')]
    return same(`end ${last?.event} ${outcome}`, async log => ({ ended: await log.end(last, outcome) }))
  }

  const kinds = [append, append, append, read, state]
  if (log.peek !== undefined) kinds.push(peek, lease)
  if (log.hold !== undefined) kinds.push(hold, hold, members)
  try {
    // A shared log exists from its first use on.
    await state()
    const endsAt = one(dice(steps), Infinity)
    for (let step = 0; step < steps; step++) await (step === endsAt ? end : one(...kinds))()
    await state()
    await same('read', log => log.read(0, 1_000))
  } finally {
    log.close()
    model.close()
  }
}

/** Returns the answer without its epoch, or the code of the error. */
async function answerOf (log: EventLog, call: Call): Promise<object> {
  try {
    const answer = await call(log)
    return Array.isArray(answer) ? answer : { ...answer, epoch: undefined }
  } catch (error) {
    return { error: (error as { code?: unknown }).code ?? error }
  }
}
