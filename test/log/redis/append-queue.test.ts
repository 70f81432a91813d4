import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { LogPosition, LogRecord } from '../../../lib/log/log.ts'
import { AppendQueue } from '../../../lib/log/redis/append-queue.ts'
import { AppendTimeouts, type WaitingAppends } from '../../../lib/log/redis/append-timeouts.ts'
import { numbered } from '../../setup/remote-log.ts'

/** A target that answers on command of the test. */
class Store {
  readonly data: Array<string[] | 'end'> = []
  newest = 0
  blocked: Array<() => void> = []
  blocks = false
  fails: Error | undefined
  readonly queue: AppendQueue

  constructor (timeouts = new AppendTimeouts(60_000)) {
    this.queue = new AppendQueue({
      append: () => queueMicrotask(() => { this.#take() }),
      end: () => this.#answer('end', 0),
      timeoutError: () => new Error('late')
    }, timeouts)
  }

  release (): void { for (const blocked of this.blocked.splice(0)) blocked() }

  async #take (): Promise<void> {
    const records = this.queue.take()
    if (records.length === 0) return
    try {
      this.queue.settle(await this.#answer(records.map(({ record }) => record.data), records.length))
    } catch (error) {
      this.queue.reject(error)
    }
  }

  async #answer (data: string[] | 'end', count: number): Promise<LogPosition> {
    this.data.push(data)
    if (this.blocks) await new Promise<void>(resolve => { this.blocked.push(resolve) })
    if (this.fails !== undefined) throw this.fails
    this.newest += count
    return { epoch: 'a', offset: this.newest }
  }
}

const all = (queue: AppendQueue, ...numbers: number[]): Array<Promise<LogPosition>> =>
  numbers.map(n => queue.add(numbered(n)))
const offsets = async (added: Array<Promise<LogPosition>>): Promise<number[]> =>
  (await Promise.all(added)).map(({ offset }) => offset)

t.test('records added in one step go together, and each resolves to its own position', async t => {
  const store = new Store()
  t.ok(store.queue.empty)
  const added = all(store.queue, 1, 2, 3)
  t.strictSame(store.data, [], 'not within the call')
  t.notOk(store.queue.empty)
  t.strictSame(await Promise.all(added), [1, 2, 3].map(offset => ({ epoch: 'a', offset })))
  t.strictSame(store.data, [['1', '2', '3']])
  await turn()
  t.ok(store.queue.empty)
})

t.test('one batch is under way at a time, and records added meanwhile are the next', async t => {
  const store = new Store()
  store.blocks = true
  const first = all(store.queue, 1)
  await turn()
  const second = all(store.queue, 2, 3)
  await turn()
  t.strictSame(store.data, [['1']])
  store.blocks = false
  store.release()
  t.strictSame([await offsets(first), await offsets(second)], [[1], [2, 3]])
})

t.test('a batch is 500 records, or 128 K characters, whichever comes first', async t => {
  const store = new Store()
  await Promise.all(all(store.queue, ...Array.from({ length: 1_201 }, (_, n) => n)))
  t.strictSame(store.data.map(({ length }) => length), [500, 500, 201])
  const large: LogRecord = { event: 'message', data: 'x'.repeat(50_000), json: false }
  await Promise.all(Array.from({ length: 7 }, () => store.queue.add(large)))
  t.strictSame(store.data.slice(3).map(({ length }) => length), [3, 3, 1])
})

t.test('a record without data rejects alone', async t => {
  const store = new Store()
  const bad = store.queue.add({ event: 'message', json: true } as LogRecord)
  const added = all(store.queue, 1)
  await t.rejects(bad, TypeError)
  t.strictSame(await offsets(added), [1])
})

t.test('the end comes after records added before it, and before records added later', async t => {
  const store = new Store()
  const before = all(store.queue, 1, 2)
  const ended = store.queue.end()
  const after = all(store.queue, 3)
  await Promise.all([...before, ended, ...after])
  t.strictSame(store.data, [['1', '2'], 'end', ['3']])
})

t.test('a rejection rejects all of its batch, and the next batch is sent', async t => {
  const store = new Store()
  store.fails = new Error('full')
  for (const { status } of await Promise.allSettled(all(store.queue, 1, 2))) t.equal(status, 'rejected')
  store.fails = undefined
  t.strictSame(await offsets(all(store.queue, 3)), [1])
})

t.test('with a key, each record has its own answer, and one after the end is rejected', async t => {
  const keys: Array<Array<string | undefined>> = []
  const queue = new AppendQueue({
    append: () => queueMicrotask(() => {
      keys.push(queue.take().map(({ key }) => key))
      queue.settle({ epoch: 'a', offset: 8, offsets: [-3, 8, 0, 0] })
    }),
    end: async () => ({ epoch: 'a', offset: 8 }),
    timeoutError: () => new Error('late')
  }, new AppendTimeouts(60_000))
  const added = [queue.addOnce(numbered(1), 'one'), queue.addOnce(numbered(2), 'two'), queue.add(numbered(3)),
    queue.addOnce(numbered(4), 'four')]
  const answers = await Promise.allSettled(added)
  t.strictSame(keys, [['one', 'two', undefined, 'four']])
  t.strictSame(answers.slice(0, 2).map(answer => answer.status === 'fulfilled' && answer.value),
    [{ epoch: 'a', offset: 3, appended: false }, { epoch: 'a', offset: 8, appended: true }])
  for (const answer of answers.slice(2)) {
    t.equal(answer.status === 'rejected' && answer.reason.code, 'FST_SSE_CHANNEL_ENDED')
  }
})

t.test('a timeout rejects: an append under way may still succeed, a queued one is not sent', async t => {
  const store = new Store(new AppendTimeouts(400))
  store.blocks = true
  const out = all(store.queue, 1)
  await turn()
  const waiting = [...all(store.queue, 2), store.queue.end()]
  t.equal(store.queue.isWanted, true)
  for (const late of [...out, ...waiting]) await t.rejects(late as Promise<unknown>, { message: 'late' })
  t.equal(store.queue.isWanted, false, 'no caller waits for it')
  store.blocks = false
  const later = all(store.queue, 3)
  store.release()
  t.strictSame(await offsets(later), [2], 'the first one was appended')
  t.strictSame(store.data, [['1'], ['3']])
})

t.test('a later append times out later', async t => {
  const store = new Store(new AppendTimeouts(2_000))
  store.blocks = true
  let late = 0
  const [first] = all(store.queue, 1)
  await new Promise(resolve => setTimeout(resolve, 1_000))
  const [second] = all(store.queue, 2)
  second!.catch(() => { late++ })
  await t.rejects(first!, { message: 'late' })
  t.equal(late, 0)
  await t.rejects(second!, { message: 'late' })
})

t.test('a queue waits for the timeout of its appends, and an empty one for none', async t => {
  const waiting = new Set<WaitingAppends>()
  const store = new Store(new class extends AppendTimeouts {
    override add (appends: WaitingAppends): void { waiting.add(appends) }
    override delete (appends: WaitingAppends): void { waiting.delete(appends) }
  }(60_000))
  const added = all(store.queue, 1, 2)
  t.strictSame([...waiting], [store.queue])
  t.ok(store.queue.since <= performance.now())
  await Promise.all(added)
  t.strictSame([...waiting], [])
  t.equal(store.queue.since, Infinity)
})

t.test('L11: a queue ends and times out in the context of no publisher', async t => {
  const storage = new AsyncLocalStorage<string>()
  const seen = new Set<string>()
  const see = (what: string): void => { seen.add(`${what} ${storage.getStore() ?? 'nobody'}`) }
  let release!: () => void
  const released = new Promise<void>(resolve => { release = resolve })
  const queue = new AppendQueue({
    append: () => {
      released.then(() => { if (queue.take().length > 0) queue.settle({ epoch: 'a', offset: 1 }) })
    },
    end: async () => {
      see('end')
      return { epoch: 'a', offset: 1 }
    },
    timeoutError: () => {
      see('late')
      return new Error('late')
    }
  }, new AppendTimeouts(10))
  // The first one may be late before the second one is added.
  const first = t.rejects(storage.run('ann', () => queue.add(numbered(1))), { message: 'late' })
  await turn()
  await t.rejects(storage.run('bob', () => queue.add(numbered(2))), { message: 'late' })
  await first
  const ended = storage.run('eve', () => queue.end()).catch(() => {})
  release()
  await ended
  while (!queue.empty) await turn()
  t.strictSame([...seen].sort(), ['end nobody', 'late nobody'])
})
