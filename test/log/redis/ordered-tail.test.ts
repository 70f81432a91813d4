import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { LogBatch, LogEntry } from '../../../lib/log/log.ts'
import { OrderedTail } from '../../../lib/log/redis/ordered-tail.ts'
import { chances } from '../../setup/chances.ts'

const entry = (offset: number): LogEntry => ({ offset, event: 'message', data: String(offset), json: true })
const entries = (first: number, last: number): LogEntry[] => Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => entry(first + index))
const batch = (first: number, last: number, rest: Partial<LogBatch> = {}): LogBatch => ({ epoch: 'a', newest: last, ended: false, entries: entries(first, last), ...rest })

/** A store with a range of entries, and a tail over it. */
class Store {
  epoch = 'a'
  oldest = 1
  newest = 0
  ended = false
  reads: number[] = []
  readonly told: LogBatch[] = []
  answer = async (make: () => LogBatch): Promise<LogBatch> => make()
  readonly sequence = new OrderedTail({
    read: after => {
      this.reads.push(after)
      return this.answer(() => this.read(after))
    },
    deliver: batch => { this.told.push(batch) }
  })

  read (after: number, limit = 3): LogBatch {
    const { epoch, newest, ended } = this
    const first = Math.max(after + 1, this.oldest)
    return { epoch, newest, ended, entries: entries(first, Math.min(newest, first + limit - 1)) }
  }

  get standing (): Omit<LogBatch, 'entries'> { return this.read(this.newest) }

  get offsets (): number[] { return this.told.flatMap(({ entries }) => entries.map(({ offset }) => offset)) }
}

t.test('the next entries are delivered at once, known ones are not delivered again', async t => {
  const store = new Store()
  store.sequence.start(batch(1, 0))
  for (const heard of [batch(1, 2), batch(2, 3), batch(1, 3), batch(4, 4)]) store.sequence.onMessage(heard)
  t.strictSame(store.told, [batch(1, 2), batch(3, 3), batch(4, 4)])
  t.strictSame(store.reads, [])
})

t.test('messages before the first state wait for it', async t => {
  const store = new Store()
  store.newest = 7
  store.sequence.onMessage(batch(4, 5))
  store.sequence.onMessage(batch(6, 7))
  t.strictSame(store.told, [])
  store.sequence.start({ epoch: 'a', newest: 5, ended: false })
  store.sequence.start({ epoch: 'a', newest: 7, ended: false })
  t.strictSame(store.offsets, [6, 7])
})

t.test('entries between the first state and the first messages are read', async t => {
  const store = new Store()
  store.newest = 8
  store.sequence.onMessage(batch(8, 8))
  store.sequence.start({ epoch: 'a', newest: 5, ended: false })
  await turn()
  t.strictSame(store.offsets, [6, 7, 8])
})

t.test('missing entries are read, and messages that arrive meanwhile follow', async t => {
  const store = new Store()
  store.sequence.start(batch(1, 0))
  store.newest = 9
  store.sequence.onMessage(batch(9, 9))
  store.sequence.onMessage(batch(10, 12))
  await turn()
  t.strictSame(store.offsets, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
})

t.test('entries lost after a request to the store are read again', async t => {
  const store = new Store()
  store.sequence.start(batch(1, 0))
  store.newest = 2
  store.sequence.onMessage(batch(2, 2))
  store.newest = 4
  // The answer is older than the message.
  store.sequence.onMessage(batch(4, 4))
  await turn()
  t.strictSame(store.offsets, [1, 2, 3, 4])
})

t.test('entries that the store no longer has are a gap, and received messages of them are not lost', async t => {
  const store = new Store()
  store.sequence.start(batch(1, 0))
  store.newest = 6
  store.oldest = 7
  store.sequence.onMessage(batch(3, 4))
  store.sequence.onMessage(batch(5, 6))
  await turn()
  t.strictSame(store.told, [batch(1, 0, { newest: 2 }), batch(3, 4), batch(5, 6)])
})

t.test('evicted entries without messages are delivered as the new end of the log', async t => {
  const store = new Store()
  store.sequence.start(batch(1, 0))
  store.newest = 6
  store.oldest = 7
  store.sequence.onStateChange(store.standing)
  await turn()
  t.strictSame(store.told, [batch(1, 0, { newest: 6 })])
})

t.test('the end is delivered once, after the entries before it', async t => {
  const store = new Store()
  store.sequence.start(batch(1, 0))
  store.newest = 4
  store.ended = true
  store.sequence.onMessage(batch(5, 4, { ended: true }))
  store.sequence.onMessage(batch(5, 4, { ended: true }))
  await turn()
  store.sequence.onStateChange(store.standing)
  store.sequence.onMessage(batch(4, 4))
  await turn()
  t.strictSame(store.offsets, [1, 2, 3, 4])
  t.strictSame(store.told.map(({ ended }) => ended), [false, true])
})

t.test('a new epoch is delivered as the store has it, and messages of the old one are dropped', async t => {
  const store = new Store()
  store.sequence.start(batch(1, 5, { entries: [] }))
  store.epoch = 'b'
  store.newest = 2
  store.sequence.onMessage(batch(2, 2, { epoch: 'b' }))
  store.sequence.onMessage(batch(6, 6))
  await turn()
  t.strictSame(store.told, [{ epoch: 'b', newest: 2, ended: false, entries: [] }])
  store.sequence.onMessage(batch(3, 3, { epoch: 'b' }))
  t.strictSame(store.offsets, [3])
})

t.test('the state of the store is enough to find lost messages', async t => {
  const store = new Store()
  store.sequence.onStateChange(batch(1, 2))
  store.newest = 5
  store.sequence.onStateChange(store.standing)
  store.sequence.onStateChange(store.standing)
  await turn()
  t.strictSame(store.offsets, [3, 4, 5])
  t.equal(store.reads[0], 2)
})

t.test('a store that rejects is read again on the next message', async t => {
  const store = new Store()
  store.sequence.start(batch(1, 0))
  store.newest = 2
  store.answer = async () => { throw new Error('refused') }
  store.sequence.onMessage(batch(2, 2))
  await turn()
  t.strictSame(store.told, [])
  store.answer = async make => make()
  store.newest = 3
  store.sequence.onMessage(batch(3, 3))
  await turn()
  t.strictSame(store.offsets, [1, 2, 3])
})

t.test('a closed tail delivers nothing more, even during a read', async t => {
  const store = new Store()
  store.sequence.start(batch(1, 0))
  store.newest = 2
  store.sequence.onMessage(batch(2, 2))
  store.sequence.close()
  store.sequence.onMessage(batch(1, 2))
  store.sequence.onStateChange(store.standing)
  await turn()
  t.strictSame(store.told, [])
  const unborn = new Store()
  unborn.sequence.close()
  unborn.sequence.start(batch(1, 2))
  t.strictSame(unborn.told, [])
})

t.test('the number of waiting messages is limited while the store does not answer', async t => {
  const store = new Store()
  let release: () => void = () => {}
  const held = new Promise<void>(resolve => { release = resolve })
  store.sequence.start(batch(1, 0))
  store.answer = make => held.then(make)
  for (let n = 2; n <= 5_000; n++) store.sequence.onMessage(batch(n, n))
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
  const bring = (heard: LogBatch): void => {
    if (dice(4) === 0) return
    const again = dice(6) === 0
    const slow = dice(3) === 0
    pipe = pipe.then(async () => {
      if (slow) await turn()
      store.sequence.onMessage(heard)
      if (again) store.sequence.onMessage(heard)
    })
  }
  store.sequence.start(store.standing)
  for (let step = 0; step < 60; step++) {
    const kind = dice(20)
    if (kind === 0) {
      store.epoch = `b${step}`
      store.newest = 0
      store.oldest = 1
    } else if (kind === 1) {
      store.sequence.onStateChange(store.standing)
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
  while (store.told.at(-1)?.ended !== true) {
    store.sequence.onStateChange(store.standing)
    await turn()
  }
  const epochs = store.told.map(({ epoch }) => epoch)
  const runs = epochs.filter((epoch, index) => epoch !== epochs[index - 1])
  t.equal(new Set(runs).size, runs.length, `seed ${seed}: no epoch comes back`)
  t.equal(store.told.filter(({ ended }) => ended).length, 1, `seed ${seed}: one end`)
  let told = 0
  for (const [index, { epoch, newest, entries }] of store.told.entries()) {
    if (epoch !== (epochs[index - 1] ?? 'a')) told = newest
    for (const { offset, data } of entries) {
      if (offset <= told || data !== String(offset) || (keeps === Infinity && offset !== told + 1)) t.fail(`seed ${seed}: ${offset} after ${told}`)
      told = offset
    }
    if (newest < told || (keeps === Infinity && newest !== told)) t.fail(`seed ${seed}: newest ${newest}, told ${told}`)
    told = newest
  }
  t.equal(told, lengths.get(store.epoch), `seed ${seed}: up to the newest`)
}

t.test('R8: for any lost, duplicated or late messages: each entry once and in order, and a gap only where the store has one', async t => {
  for (let seed = 1; seed <= 500; seed++) await play(t, seed)
})

t.test('L12: no wait for entries that the store does not have, if the request followed their message', async t => {
  for (const claims of [[batch(900_000, 900_000)], [batch(1, 900_000, { entries: [] })], [batch(5, 4, { newest: 900_000 }), batch(7, 8)], Array.from({ length: 1_500 }, (_, n) => batch(n + 100, n + 100))]) {
    const store = new Store()
    store.sequence.start(batch(1, 0))
    store.newest = 3
    for (const claim of claims) store.sequence.onMessage(claim)
    for (let n = 0; n < 20; n++) await turn()
    t.ok(store.reads.length <= 3, `${store.reads.length} reads`)
    t.strictSame(store.offsets, [1, 2, 3])
    store.newest = 4
    store.sequence.onMessage(batch(4, 4))
    t.strictSame(store.offsets, [1, 2, 3, 4], 'and what comes then is told')
  }
})
