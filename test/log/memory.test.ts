import fc from 'fast-check'
import t from 'tap'
import { checkEventLog } from '../../lib/log/check-event-log.ts'
import { KEY_DURATION, type EventLog, type HistoryLimits, type LogBatch, type LogEntry, type LogRecord } from '../../lib/log/log.ts'
import { asMemberLog } from '../../lib/log/required-methods.ts'
import { memoryLog } from '../../lib/log/memory.ts'
import { still } from '../setup/within.ts'

await checkEventLog(t, memoryLog)

const HISTORY: HistoryLimits = { maxEvents: 1_000, maxBytes: 1_000_000, maxAge: Infinity }
const open = (history: Partial<HistoryLimits> = {}): EventLog => memoryLog()('name', { ...HISTORY, ...history })
const record = (data: string, event = ''): LogRecord => ({ event, data, json: false })
const offsetsOf = async (log: EventLog): Promise<number[]> =>
  (await log.read(0, Infinity)).entries.map(entry => entry.offset)
const append = async (log: EventLog, count: number): Promise<void> => {
  for (let n = 0; n < count; n++) await log.append(record('x'))
}

t.test('R4: bytes are those of name and data as UTF-8, and an entry beyond the limit is evicted before it is delivered', async t => {
  const rows: Array<[bytes: number, records: LogRecord[], kept: number[]]> = [
    [4, [record('aa'), record('bb')], [1, 2]],
    [3, [record('aa'), record('bb')], [2]],
    [4, [record('é'), record('é')], [1, 2]],
    [3, [record('é'), record('é')], [2]],
    [7, [record('😀'), record('aaa')], [1, 2]],
    [6, [record('😀'), record('aaa')], [2]],
    [4, [record('a', 'b'), record('a', 'b')], [1, 2]],
    [3, [record('a', 'b'), record('a', 'b')], [2]],
    [3, [record('a', 'é'), record('a')], [2]],
    [3, [record('aa'), record('bbbb')], []],
    [0, [record(''), record('')], [1, 2]],
    [0, [record('a')], []]
  ]
  for (const [bytes, records, kept] of rows) {
    const log = open({ maxBytes: bytes })
    for (const each of records) await log.append(each)
    t.same(await offsetsOf(log), kept, `${bytes} bytes of ${
      JSON.stringify(records.map(({ event, data }) => event + data))
    }`)
    t.match(await log.state(), { oldest: records.length - kept.length + 1, newest: records.length })
  }
})

t.test('R4: an event too large for the history is still delivered', async t => {
  const log = open({ maxBytes: 2 })
  const received: LogBatch[] = []
  log.tail(batch => received.push(batch))
  await log.append(record('large'))
  t.match(received, [{ newest: 1, ended: false, entries: [{ offset: 1, data: 'large' }] }])
})

t.test('R4: events expire at their own age, without another append', async t => {
  const log = open({ maxAge: 60 })
  await append(log, 1)
  const first = performance.now()
  await new Promise(resolve => setTimeout(resolve, 30))
  await append(log, 1)
  // The clock decides which of these two reads is first: both results are correct.
  if (performance.now() - first < 60) t.same(await offsetsOf(log), [1, 2])
  await new Promise(resolve => setTimeout(resolve, 35))
  t.notOk((await offsetsOf(log)).includes(1))
  await new Promise(resolve => setTimeout(resolve, 60))
  t.match(await log.state(), { oldest: 3, newest: 2 })
})

t.test('a position belongs to one log: each has its own epoch', async t => {
  const epochs = await Promise.all(Array.from({ length: 1_000 }, async () => (await open().state()).epoch))
  t.equal(new Set(epochs).size, 1_000)
  t.same(epochs.filter(epoch => !/^[0-9a-z]{1,10}$/.test(epoch)), [])
})

t.test('R7: after the end any append throws FST_SSE_CHANNEL_ENDED, and changes nothing', async t => {
  const log = open()
  await append(log, 2)
  await log.end()
  const before = await log.state()
  t.throws(() => log.append(record('late')), { code: 'FST_SSE_CHANNEL_ENDED' })
  t.strictSame(await log.state(), before)
  t.same(await offsetsOf(log), [1, 2])
})

t.test('a log in memory answers at once, without a promise', async t => {
  const log = open()
  for (const answer of [log.append(record('x')), log.read(0, 1), log.state(), log.end()]) {
    t.notOk(answer instanceof Promise)
  }
})

t.test('an entry has the fields of its record and nothing else', async t => {
  const log = open()
  const secretRecord: LogRecord & { secret: string } = { ...record('x', 'name'), secret: 'x' }
  const received: LogEntry[] = []
  log.tail(({ entries }) => received.push(...entries))
  await log.append(secretRecord)
  t.strictSame([...(await log.read(0, 1)).entries], [{ offset: 1, event: 'name', data: 'x', json: false }])
  t.strictSame(received, [{ offset: 1, event: 'name', data: 'x', json: false }])
})

t.test('a listener added twice is called twice, and each removal removes one', async t => {
  const log = open()
  let received = 0
  const listener = (): void => { received++ }
  const stops = [log.tail(listener), log.tail(listener)]
  await append(log, 1)
  t.equal(received, 2)
  stops[0]!()
  stops[0]!()
  await append(log, 1)
  t.equal(received, 3)
  stops[1]!()
  await append(log, 1)
  t.equal(received, 3)
})

t.test('a listener that removes itself or another during a delivery does not disturb the others', async t => {
  const log = open()
  const received: string[] = []
  const stops: Array<() => void> = []
  stops.push(log.tail(({ newest }) => { received.push(`a${newest}`); stops[0]!(); stops[1]!() }))
  stops.push(log.tail(({ newest }) => { received.push(`b${newest}`) }))
  log.tail(({ newest }) => { received.push(`c${newest}`) })
  await append(log, 2)
  t.same(received, ['a1', 'c1', 'c2'])
})

// Idle

t.test('an unused log is idle', async t => {
  t.equal(open({ maxAge: Infinity }).isIdle(), true)
})

t.test('a log is idle when its last use is older than its history: missed entries have expired, too', async t => {
  const uses: Array<[string, (log: EventLog) => unknown]> = [
    ['an append', log => log.append(record('x'))],
    ['the end', log => log.end()],
    ['a read of the state, whose position a client may resume from', log => log.state()],
    ['a removed listener', log => log.tail(() => {})()]
  ]
  for (const [what, use] of uses) {
    const log = open({ maxAge: 30 })
    const before = performance.now()
    await use(log)
    t.equal(log.isIdle(), performance.now() - before >= 30, what)
    await new Promise(resolve => setTimeout(resolve, 35))
    t.equal(log.isIdle(), true, what)
  }
})

t.test('a log with members is not idle at any age, until their leases end', async t => {
  const log = asMemberLog(open({ maxAge: 5 }))
  log.hold('one', { add: ['"a"'], remove: [] }, 60_000)
  await new Promise(resolve => setTimeout(resolve, 10))
  t.equal(log.isIdle(), false)
  log.hold('one', { add: [], remove: [] }, 0)
  log.isIdle()
  await new Promise(resolve => setTimeout(resolve, 10))
  t.equal(log.isIdle(), true)
})

t.test('the end of a log ends the leases of its members, without entries', async t => {
  const log = asMemberLog(open())
  await log.hold('one', { add: ['"a"'], remove: [] }, 60_000)
  await log.end()
  t.strictSame(await log.members(), [])
  t.equal((await log.state()).newest, 1)
  t.throws(() => log.hold('one', { add: ['"a"'], remove: [] }, 60_000), { code: 'FST_SSE_CHANNEL_ENDED' })
})

t.test('a log with a listener is not idle at any age', async t => {
  const log = open({ maxAge: 5 })
  const stop = log.tail(() => {})
  await append(log, 1)
  await new Promise(resolve => setTimeout(resolve, 10))
  t.equal(log.isIdle(), false)
  stop()
  await new Promise(resolve => setTimeout(resolve, 10))
  t.equal(log.isIdle(), true)
})

t.test('R7: a log without history is idle by its age like any other: a client may reconnect with a position or for the end', async t => {
  const [brief, forever] = [open({ maxEvents: 0, maxAge: 20 }), open({ maxEvents: 0, maxAge: Infinity })]
  for (const log of [brief, forever]) {
    await append(log, 1)
    await log.end()
    t.equal(log.isIdle(), false)
  }
  await new Promise(resolve => setTimeout(resolve, 25))
  t.equal(brief.isIdle(), true)
  t.equal(forever.isIdle(), false)
})

t.test('a closed log delivers nothing and stores nothing', async t => {
  const log = open()
  let received = 0
  log.tail(() => { received++ })
  await append(log, 3)
  log.close()
  await t.rejects(append(log, 1), { code: 'FST_SSE_CLOSING' })
  t.throws(() => log.appendOnce!({ event: 'message', data: '1', json: true }, 'key'), { code: 'FST_SSE_CLOSING' })
  t.equal(received, 3)
  t.ok((await offsetsOf(log)).length <= 1)
  t.equal(await still(() => received, 5), 3)
})

// Against a model

/** The specification of a log: all entries ever appended, of which the last few are kept. */
interface Model {
  entries: LogEntry[]
  oldest: number
  ended: boolean
  /** The offsets that each listener must receive, and those it received. */
  listeners: Array<{ expected: number[], received: number[], ends: number, listening: boolean }>
}

interface Real { log: EventLog, stops: Array<() => void>, epoch: string }

const size = ({ event, data }: LogRecord): number => Buffer.byteLength(event) + Buffer.byteLength(data)

function evict (model: Model, { maxEvents: events, maxBytes: bytes }: HistoryLimits): void {
  const kept = (): LogEntry[] => model.entries.slice(model.oldest - 1)
  while (kept().length > events || kept().reduce((sum, entry) => sum + size(entry), 0) > bytes) model.oldest++
}

type Command = fc.AsyncCommand<Model, Real>

class Append implements Command {
  readonly record: LogRecord
  readonly history: HistoryLimits
  constructor (record: LogRecord, history: HistoryLimits) {
    this.record = record
    this.history = history
  }

  check = (): boolean => true
  async run (model: Model, { log, epoch }: Real): Promise<void> {
    if (model.ended) {
      same(await refusalOf(() => log.append(this.record)), 'FST_SSE_CHANNEL_ENDED')
      return
    }
    const offset = model.entries.length + 1
    model.entries.push({ offset, ...this.record })
    evict(model, this.history)
    for (const listener of model.listeners) if (listener.listening) listener.expected.push(offset)
    same(await log.append(this.record), { epoch, offset })
  }

  toString = (): string => `append(${JSON.stringify(this.record)})`
}

class Read implements Command {
  readonly after: number
  readonly limit: number
  constructor (after: number, limit: number) {
    this.after = after
    this.limit = limit
  }

  check = (): boolean => true
  async run (model: Model, { log, epoch }: Real): Promise<void> {
    const from = Math.max(this.after, model.oldest - 1)
    same(await log.read(this.after, this.limit), {
      epoch,
      newest: model.entries.length,
      ended: model.ended,
      entries: model.entries.slice(from, from + this.limit)
    })
  }

  toString = (): string => `read(${this.after}, ${this.limit})`
}

class Head implements Command {
  check = (): boolean => true
  async run (model: Model, { log, epoch }: Real): Promise<void> {
    same(await log.state(), { epoch, oldest: model.oldest, newest: model.entries.length, ended: model.ended })
  }

  toString = (): string => 'state()'
}

class End implements Command {
  check = (): boolean => true
  async run (model: Model, { log }: Real): Promise<void> {
    if (!model.ended) for (const listener of model.listeners) if (listener.listening) listener.ends++
    model.ended = true
    await log.end()
  }

  toString = (): string => 'end()'
}

class Tail implements Command {
  check = (): boolean => true
  async run (model: Model, { log, stops, epoch }: Real): Promise<void> {
    const listener = { expected: [], received: [] as number[], ends: 0, listening: true }
    model.listeners.push(listener)
    stops.push(log.tail(batch => {
      same([batch.epoch, batch.newest], [epoch, model.entries.length])
      listener.received.push(...batch.entries.map(({ offset }) => offset))
      if (batch.ended) listener.ends--
    }))
    same(log.isIdle(), false)
  }

  toString = (): string => 'tail()'
}

class Cancel implements Command {
  readonly which: number
  constructor (which: number) { this.which = which }
  check = ({ listeners }: Readonly<Model>): boolean => listeners.length > 0
  async run (model: Model, { log, stops }: Real): Promise<void> {
    const index = this.which % stops.length
    model.listeners[index]!.listening = false
    stops[index]!()
    if (model.listeners.some(({ listening }) => listening)) same(log.isIdle(), false)
  }

  toString = (): string => `cancel(${this.which})`
}

async function refusalOf (act: () => unknown): Promise<unknown> {
  try {
    return await act()
  } catch (error) {
    return (error as { code?: unknown }).code
  }
}

function same (actual: unknown, expected: unknown): void {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) {
    throw new Error(`expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`)
  }
}

t.test('a log is not idle while it keeps a key, and forgets keys by itself', async t => {
  const log = open({ maxAge: 1_000 })
  const start = performance.now()
  let time = start
  t.intercept(performance, 'now', { value: () => time })
  t.match(await log.appendOnce?.(record('x'), 'key'), { offset: 1, appended: true })
  time = start + KEY_DURATION - 1
  t.equal(log.isIdle(), false)
  t.match(await log.appendOnce?.(record('x'), 'key'), { offset: 1, appended: false })
  time = start + KEY_DURATION
  t.equal(log.isIdle(), true)
  t.match(await log.appendOnce?.(record('x'), 'key'), { offset: 2, appended: true })
})

t.test('a listener that publishes with the key of the event that it receives appends nothing', async t => {
  const log = open()
  const nested: unknown[] = []
  log.tail(() => { nested.push(log.appendOnce?.(record('again'), 'key')) })
  t.match(await log.appendOnce?.(record('x'), 'key'), { offset: 1, appended: true })
  t.match(nested, [{ offset: 1, appended: false }])
})

t.test('R2, R4: any sequence of calls stores, returns and delivers the same as a list of all events', async t => {
  const text = fc.string({ unit: 'binary', maxLength: 6 })
  const position = fc.nat({ max: 30 })
  await fc.assert(fc.asyncProperty(
    fc.record({ maxEvents: fc.nat({ max: 6 }), maxBytes: fc.nat({ max: 40 }), maxAge: fc.constant(Infinity) }).chain(
      history =>
        fc.tuple(fc.constant(history), fc.commands([
          fc.record({ event: text, data: text, json: fc.boolean() }).map(record => new Append(record, history)),
          fc.record({ event: text, data: text, json: fc.boolean() }).map(record => new Append(record, history)),
          fc.tuple(position, fc.integer({ min: 1, max: 8 })).map(([after, limit]) => new Read(after, limit)),
          fc.constant(new Head()),
          fc.constant(new Tail()),
          position.map(which => new Cancel(which)),
          fc.constant(new End())
        ], { size: 'large' }))
    ),
    async ([history, commands]) => {
      const log = open(history)
      const model: Model = { entries: [], oldest: 1, ended: false, listeners: [] }
      const { epoch } = await log.state()
      await fc.asyncModelRun(() => ({ model, real: { log, stops: [], epoch } }), commands)
      for (const { received, expected, ends } of model.listeners) same([received, ends], [expected, 0])
    }
  ), { numRuns: 100 })
})
