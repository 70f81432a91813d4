import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { LogBatch, LogEntry } from '../../lib/log/log.ts'
import { OrderedTail } from '../../lib/log/ordered-tail.ts'
import { chances } from '../setup/chances.ts'

const entry = (offset: number): LogEntry => ({ offset, event: 'message', data: String(offset), json: true })
const entries = (first: number, last: number): LogEntry[] =>
  Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => entry(first + index))
const batch = (first: number, last: number, rest: Partial<LogBatch> = {}): LogBatch => ({
  epoch: 'a',
  newest: last,
  ended: false,
  entries: entries(first, last),
  ...rest
})

/** A store with a range of entries, and a tail over it. */
class Store {
  epoch = 'a'
  oldest = 1
  newest = 0
  ended = false
  reads: number[] = []
  readonly delivered: LogBatch[] = []
  answer = async (make: () => LogBatch): Promise<LogBatch> => make()
  readonly tail = new OrderedTail({
    read: after => {
      this.reads.push(after)
      return this.answer(() => this.read(after))
    },
    deliver: batch => { this.delivered.push(batch) }
  })

  read (after: number, limit = 3): LogBatch {
    const { epoch, newest, ended } = this
    const first = Math.max(after + 1, this.oldest)
    return { epoch, newest, ended, entries: entries(first, Math.min(newest, first + limit - 1)) }
  }

  get progress (): Omit<LogBatch, 'entries'> { return this.read(this.newest) }

  get offsets (): number[] { return this.delivered.flatMap(({ entries }) => entries.map(({ offset }) => offset)) }
}

t.test('the next entries are delivered at once, known ones are not delivered again', async t => {
  const store = new Store()
  store.tail.start(batch(1, 0))
  for (const message of [batch(1, 2), batch(2, 3), batch(1, 3), batch(4, 4)]) store.tail.onMessage(message)
  t.strictSame(store.delivered, [batch(1, 2), batch(3, 3), batch(4, 4)])
  t.strictSame(store.reads, [])
})

t.test('messages before the first state wait for it', async t => {
  const store = new Store()
  store.newest = 7
  store.tail.onMessage(batch(4, 5))
  store.tail.onMessage(batch(6, 7))
  t.strictSame(store.delivered, [])
  store.tail.start({ epoch: 'a', newest: 5, ended: false })
  store.tail.start({ epoch: 'a', newest: 7, ended: false })
  t.strictSame(store.offsets, [6, 7])
})

t.test('entries between the first state and the first messages are read', async t => {
  const store = new Store()
  store.newest = 8
  store.tail.onMessage(batch(8, 8))
  store.tail.start({ epoch: 'a', newest: 5, ended: false })
  await turn()
  t.strictSame(store.offsets, [6, 7, 8])
})

t.test('missing entries are read, and messages that arrive meanwhile follow', async t => {
  const store = new Store()
  store.tail.start(batch(1, 0))
  store.newest = 9
  store.tail.onMessage(batch(9, 9))
  store.tail.onMessage(batch(10, 12))
  await turn()
  t.strictSame(store.offsets, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
})

t.test('entries lost after a request to the store are read again', async t => {
  const store = new Store()
  store.tail.start(batch(1, 0))
  store.newest = 2
  store.tail.onMessage(batch(2, 2))
  store.newest = 4
  // The answer is older than the message.
  store.tail.onMessage(batch(4, 4))
  await turn()
  t.strictSame(store.offsets, [1, 2, 3, 4])
})

t.test('entries that the store no longer has are a gap, and received messages of them are not lost', async t => {
  const store = new Store()
  store.tail.start(batch(1, 0))
  store.newest = 6
  store.oldest = 7
  store.tail.onMessage(batch(3, 4))
  store.tail.onMessage(batch(5, 6))
  await turn()
  t.strictSame(store.delivered, [batch(1, 0, { newest: 2 }), batch(3, 4), batch(5, 6)])
})

t.test('evicted entries without messages are delivered as the new end of the log', async t => {
  const store = new Store()
  store.tail.start(batch(1, 0))
  store.newest = 6
  store.oldest = 7
  store.tail.onStateChange(store.progress)
  await turn()
  t.strictSame(store.delivered, [batch(1, 0, { newest: 6 })])
})

t.test('a message without entries does not limit what the store has evicted', async t => {
  const store = new Store()
  store.tail.start(batch(1, 0))
  store.newest = 6
  store.oldest = 7
  store.tail.onMessage(batch(1, 2, { entries: [] }))
  await turn()
  t.strictSame(store.delivered, [batch(1, 0, { newest: 6 })])
})

t.test('the end is delivered once, after the entries before it', async t => {
  const store = new Store()
  store.tail.start(batch(1, 0))
  store.newest = 4
  store.ended = true
  store.tail.onMessage(batch(5, 4, { ended: true }))
  store.tail.onMessage(batch(5, 4, { ended: true }))
  await turn()
  store.tail.onStateChange(store.progress)
  store.tail.onMessage(batch(4, 4))
  await turn()
  t.strictSame(store.offsets, [1, 2, 3, 4])
  t.strictSame(store.delivered.map(({ ended }) => ended), [false, true])
})

t.test('a new epoch is delivered as the store has it, and messages of the old one are dropped', async t => {
  const store = new Store()
  store.tail.start(batch(1, 5, { entries: [] }))
  store.epoch = 'b'
  store.newest = 2
  store.tail.onMessage(batch(2, 2, { epoch: 'b' }))
  store.tail.onMessage(batch(6, 6))
  await turn()
  t.strictSame(store.delivered, [{ epoch: 'b', newest: 2, ended: false, entries: [] }])
  store.tail.onMessage(batch(3, 3, { epoch: 'b' }))
  t.strictSame(store.offsets, [3])
})

t.test('the state of the store is enough to find lost messages', async t => {
  const store = new Store()
  store.tail.onStateChange(batch(1, 2))
  store.newest = 5
  store.tail.onStateChange(store.progress)
  store.tail.onStateChange(store.progress)
  await turn()
  t.strictSame(store.offsets, [3, 4, 5])
  t.equal(store.reads[0], 2)
})

t.test('a store that rejects is read again on the next message', async t => {
  const store = new Store()
  store.tail.start(batch(1, 0))
  store.newest = 2
  store.answer = async () => { throw new Error('refused') }
  store.tail.onMessage(batch(2, 2))
  await turn()
  t.strictSame(store.delivered, [])
  store.answer = async make => make()
  store.newest = 3
  store.tail.onMessage(batch(3, 3))
  await turn()
  t.strictSame(store.offsets, [1, 2, 3])
})

t.test('a closed tail delivers nothing more, even during a read', async t => {
  const store = new Store()
  store.tail.start(batch(1, 0))
  store.newest = 2
  store.tail.onMessage(batch(2, 2))
  store.tail.close()
  store.tail.onMessage(batch(1, 2))
  store.tail.onStateChange(store.progress)
  await turn()
  t.strictSame(store.delivered, [])
  const unborn = new Store()
  unborn.tail.close()
  unborn.tail.start(batch(1, 2))
  t.strictSame(unborn.delivered, [])
})

t.test('the number of waiting messages is limited while the store does not answer', async t => {
  const store = new Store()
  let release: () => void = () => {}
  const blocked = new Promise<void>(resolve => { release = resolve })
  store.tail.start(batch(1, 0))
  store.answer = make => blocked.then(make)
  for (let n = 2; n <= 5_000; n++) store.tail.onMessage(batch(n, n))
  store.newest = 5_000
  release()
  while (store.offsets.length < 5_000) await turn()
  t.strictSame(store.offsets, entries(1, 5_000).map(({ offset }) => offset))
})

/** Publishes, loses, duplicates, delays and starts new epochs at random, then checks the deliveries. */
async function play (t: Test, seed: number): Promise<void> {
  const dice = chances(seed)
  const store = new Store()
  const keeps = dice(3) === 0 ? dice(5) : Infinity
  store.answer = async make => {
    const made = make()
    for (let n = dice(3); n > 0; n--) await turn()
    return made
  }
  let pipe = Promise.resolve()
  const lengths = new Map<string, number>()
  const bring = (message: LogBatch): void => {
    if (dice(4) === 0) return
    const again = dice(6) === 0
    const slow = dice(3) === 0
    pipe = pipe.then(async () => {
      if (slow) await turn()
      store.tail.onMessage(message)
      if (again) store.tail.onMessage(message)
    })
  }
  store.tail.start(store.progress)
  for (let step = 0; step < 60; step++) {
    const kind = dice(20)
    if (kind === 0) {
      store.epoch = `b${step}`
      store.newest = 0
      store.oldest = 1
    } else if (kind === 1) {
      store.tail.onStateChange(store.progress)
    } else {
      const first = store.newest + 1
      store.newest += 1 + dice(4)
      store.oldest = Math.max(store.oldest, store.newest - keeps + 1)
      bring(batch(first, store.newest, { epoch: store.epoch }))
    }
    lengths.set(store.epoch, store.newest)
    if (dice(2) === 0) await turn()
  }
  store.ended = true
  bring(batch(store.newest + 1, store.newest, { epoch: store.epoch, ended: true }))
  await pipe
  // The last message may be lost: the store is checked regularly.
  while (store.delivered.at(-1)?.ended !== true) {
    store.tail.onStateChange(store.progress)
    await turn()
  }
  const epochs = store.delivered.map(({ epoch }) => epoch)
  const runs = epochs.filter((epoch, index) => epoch !== epochs[index - 1])
  t.equal(new Set(runs).size, runs.length, `seed ${seed}: no epoch comes back`)
  t.equal(store.delivered.filter(({ ended }) => ended).length, 1, `seed ${seed}: one end`)
  let delivered = 0
  for (const [index, { epoch, newest, entries }] of store.delivered.entries()) {
    if (epoch !== (epochs[index - 1] ?? 'a')) delivered = newest
    for (const { offset, data } of entries) {
      if (offset <= delivered || data !== String(offset) || (keeps === Infinity && offset !== delivered + 1)) {
        t.fail(`seed ${seed}: ${offset} after ${delivered}`)
      }
      delivered = offset
    }
    if (newest < delivered || (keeps === Infinity && newest !== delivered)) {
      t.fail(`seed ${seed}: newest ${newest}, delivered ${delivered}`)
    }
    delivered = newest
  }
  t.equal(delivered, lengths.get(store.epoch), `seed ${seed}: up to the newest`)
}

t.test('R8: for any lost, duplicated or late messages: each entry once and in order, and a gap only where the store has one', async t => {
  for (let seed = 1; seed <= 500; seed++) await play(t, seed)
})

t.test('L12: a tail does not wait for entries that the store does not have, if its request was sent after their message', async t => {
  for (const claims of [[batch(900_000, 900_000)], [batch(1, 900_000, { entries: [] })], [
    batch(5, 4, { newest: 900_000 }),
    batch(7, 8)
  ], Array.from({ length: 1_500 }, (_, n) => batch(n + 100, n + 100))]) {
    const store = new Store()
    store.tail.start(batch(1, 0))
    store.newest = 3
    for (const claim of claims) store.tail.onMessage(claim)
    for (let n = 0; n < 20; n++) await turn()
    t.ok(store.reads.length <= 3, `${store.reads.length} reads`)
    t.strictSame(store.offsets, [1, 2, 3])
    store.newest = 4
    store.tail.onMessage(batch(4, 4))
    t.strictSame(store.offsets, [1, 2, 3, 4], 'and later batches are delivered')
  }
})
