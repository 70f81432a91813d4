import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { LogEntry, LogPosition } from '../../../lib/log/log.ts'
import { NOTHING_KNOWN } from '../../../lib/log/postgres/channel-state.ts'
import { TurnQueue, type AppendedState, type AppendingChannel } from '../../../lib/log/postgres/turn-queue.ts'
import { numbered } from '../../setup/remote-log.ts'

class TestChannel implements AppendingChannel {
  readonly known = NOTHING_KNOWN
  readonly limits = { events: 1, bytes: 1, age: null }
  starting: Promise<void> | undefined
  pending = 0
  readonly appended: Array<{ state: AppendedState, entries: readonly LogEntry[] }> = []
  readonly name: string
  constructor (name: string) { this.name = name }
  onAppended (state: AppendedState, entries: readonly LogEntry[]): void { this.appended.push({ state, entries }) }
  timeoutError (): Error { return new Error(`late ${this.name}`) }
  toError (cause: unknown): Error { return new Error(`refused ${this.name}`, { cause }) }
}

interface Call {
  number: number
  names: string[]
  ends: Array<string | null>
  data: string
  encrypted: unknown[]
  isWanted: () => boolean
}

/** A database that counts offsets, and answers on command of the test. */
class Store {
  readonly calls: Call[] = []
  readonly newest = new Map<string, number>()
  readonly ended = new Set<string>()
  release = (): void => {}
  blocks = false
  fails = false
  readonly queue: TurnQueue

  constructor (timeout = 60_000) {
    this.queue = new TurnQueue(async (number, values, isWanted) => {
      const [names, ends, counts, data] = [values[0], values[7], values[8], values.at(-4)] as
        [string[], Array<string | null>, string, Buffer]
      this.calls.push({ number, names, ends, data: String(data), encrypted: values.slice(-3), isWanted })
      if (this.blocks) await new Promise<void>(resolve => { this.release = resolve })
      if (this.fails) throw new Error('refused')
      const added = counts.slice(1, -1).split(',').map(Number)
      const channels = names.map((name, index) => {
        const ended = this.ended.has(name)
        if (!ended) this.newest.set(name, (this.newest.get(name) ?? 0) + added[index]!)
        if (ends[index] !== null) this.ended.add(name)
        return ['e', this.newest.get(name) ?? 0, 7, ended, 6]
      })
      return JSON.stringify({ channels, found: null })
    }, timeout, records => {
      const channelOf = records.map(({ index }) => index)
      return { texts: [records.map(({ record }) => record.data).join()], textOf: channelOf.map(() => 1), channelOf }
    })
  }
}

const offsets = async (added: Array<Promise<LogPosition>>): Promise<number[]> =>
  (await Promise.all(added)).map(({ offset }) => offset)

t.test('the appends of one turn are one statement, over all channels, in order', async t => {
  const store = new Store()
  const [a, b] = [new TestChannel('a'), new TestChannel('b')]
  const added = [a, b, a, a].map(async (channel, n) => store.queue.append(channel, numbered(n)))
  t.strictSame([store.calls.length, a.pending], [0, 3], 'not within the call')
  t.strictSame(await offsets(added), [1, 1, 2, 3])
  t.match(store.calls, [{ number: 1, names: ['a', 'b'], data: '0123' }])
  t.strictSame(a.appended, [{
    state: { epoch: 'e', newest: 3, at: 7, before: 6, ended: false, known: a.known },
    entries: [[1, '0'], [2, '2'], [3, '3']].map(([offset, data]) => ({ offset, event: 'message', data, json: true }))
  }])
  await turn()
  t.equal(a.pending, 0)
})

t.test('one statement is under way at a time, and the next has all that was added meanwhile', async t => {
  const store = new Store()
  store.blocks = true
  const a = new TestChannel('a')
  const first = store.queue.append(a, numbered(1))
  await turn()
  const others = [2, 3].map(async n => store.queue.append(a, numbered(n)))
  await turn()
  t.equal(store.calls.length, 1)
  store.blocks = false
  store.release()
  t.strictSame([await offsets([first]), await offsets(others)], [[1], [2, 3]])
  t.strictSame(store.calls.map(({ number }) => number), [1, 2])
})

t.test('a statement has at most 2,000 records, or about a million characters', async t => {
  const store = new Store()
  const a = new TestChannel('a')
  await Promise.all(Array.from({ length: 2_500 }, async () => store.queue.append(a, numbered(1))))
  t.strictSame(store.calls.map(({ data }) => data.length), [2_000, 500])
  const large = { event: 'message', data: 'x'.repeat(600_000), json: false }
  await Promise.all([1, 2, 3].map(async () => store.queue.append(a, large)))
  t.strictSame(store.calls.slice(2).map(({ data }) => data.length), [1_200_000, 600_000])
})

t.test('records are encrypted for notifications, unless there are many, or the database decides on their offsets', async t => {
  const store = new Store()
  const [a, b] = [new TestChannel('a'), new TestChannel('b')]
  await Promise.all([a, b, a].map(async (channel, n) => store.queue.append(channel, numbered(n))))
  await Promise.all([store.queue.append(a, numbered(3)), store.queue.appendOnce(b, numbered(4), 'key')])
  await Promise.all(Array.from({ length: 501 }, async () => store.queue.append(a, numbered(5))))
  await store.queue.end(a, numbered(6))
  const nothing = [[], '{}', '{}']
  t.strictSame(store.calls.map(({ encrypted }) => encrypted), [[['0,1,2'], '{1,1,1}', '{1,2,1}'], nothing, nothing, nothing])
})

t.test('two logs of one name are one channel, and each receives the entries', async t => {
  const store = new Store()
  const [one, other] = [new TestChannel('a'), new TestChannel('a')]
  t.strictSame(await offsets([one, other].map(async (channel, n) => store.queue.append(channel, numbered(n)))), [1, 2])
  t.strictSame(store.calls[0]!.names, ['a'])
  t.strictSame(one.appended, other.appended)
})

t.test('the end comes after earlier records, and later ones are rejected', async t => {
  const store = new Store()
  const [a, b] = [new TestChannel('a'), new TestChannel('b')]
  const before = store.queue.append(a, numbered(1))
  const end = store.queue.end(a, numbered(2), 'complete')
  const after = store.queue.append(a, numbered(3))
  const other = store.queue.append(b, numbered(4))
  await t.rejects(after, { code: 'FST_SSE_CHANNEL_ENDED' })
  t.strictSame([await offsets([before, other]), await end], [[1, 1], undefined])
  await store.queue.end(a)
  t.match(store.calls, [{ ends: ['complete'], data: '12' }, { names: ['a', 'b'], ends: [null, null] }, { ends: [''] }])
  t.strictSame(a.appended.map(({ state, entries }) => [state.ended, entries.length]), [[true, 2], [true, 0], [true, 0]])
})

t.test('appends wait for the start of a tail', async t => {
  const store = new Store()
  const a = new TestChannel('a')
  let begin = (): void => {}
  a.starting = new Promise(resolve => { begin = resolve })
  const added = store.queue.append(a, numbered(1))
  await turn()
  await turn()
  t.equal(store.calls.length, 0)
  begin()
  t.strictSame(await offsets([added]), [1])
})

t.test('a rejection rejects all of its statement with an error of each channel, and the next is sent', async t => {
  const store = new Store()
  store.fails = true
  const [a, b] = [new TestChannel('a'), new TestChannel('b')]
  const added = [a, b].map(async channel => store.queue.append(channel, numbered(1)))
  await t.rejects(added[0]!, { message: 'refused a', cause: { message: 'refused' } })
  await t.rejects(added[1]!, { message: 'refused b' })
  store.fails = false
  t.strictSame(await offsets([store.queue.append(a, numbered(2))]), [1])
})

t.test('a timeout rejects: an append under way may still succeed, a queued one is not sent', async t => {
  const store = new Store(300)
  store.blocks = true
  const a = new TestChannel('a')
  const under = store.queue.append(a, numbered(1))
  await turn()
  await turn()
  const waiting = [store.queue.append(a, numbered(2)), store.queue.end(a)]
  t.equal(store.calls[0]!.isWanted(), true)
  for (const late of [under, ...waiting]) await t.rejects(late as Promise<unknown>, { message: 'late a' })
  t.equal(store.calls[0]!.isWanted(), false)
  store.blocks = false
  const later = store.queue.append(a, numbered(3))
  store.release()
  t.strictSame(await offsets([later]), [2])
  t.strictSame(store.calls.map(({ data }) => data), ['1', '3'])
  t.equal(a.pending, 0)
})

t.test('a later append times out later', async t => {
  const store = new Store(600)
  store.blocks = true
  const a = new TestChannel('a')
  let late = 0
  const first = store.queue.append(a, numbered(1))
  await new Promise(resolve => setTimeout(resolve, 300))
  const second = store.queue.append(a, numbered(2))
  second.catch(() => { late++ })
  await t.rejects(first, { message: 'late a' })
  t.equal(late, 0)
  await t.rejects(second, { message: 'late a' })
})

t.test('L11: a queue sends in the context of no publisher', async t => {
  const storage = new AsyncLocalStorage<string>()
  const seen: Array<string | undefined> = []
  const queue = new TurnQueue(async () => {
    seen.push(storage.getStore())
    return JSON.stringify({ channels: [['e', 1, 1, false, 0]], found: null })
  }, 1_000)
  await storage.run('ann', () => queue.append(new TestChannel('a'), numbered(1)))
  t.strictSame(seen, [undefined])
})
