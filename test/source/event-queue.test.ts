import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { EventQueue, type EventQueueOptions } from '../../lib/source/event-queue.ts'

/** Returns the state of a promise: its value, the code of its error, or `'waits'`. */
function watch (promise: Promise<unknown>): () => unknown {
  let state: unknown = 'waits'
  promise.then(value => { state = value }, (error: NodeJS.ErrnoException) => { state = error.code ?? error.message })
  return () => state
}

const value = (data: unknown) => ({ value: { data }, done: false })
const done = { value: undefined, done: true }

t.test('without a capacity, a push waits until the reader has its event', async t => {
  const queue = new EventQueue()
  const pushed = watch(queue.push({ data: 1 }))
  await turn()
  t.equal(pushed(), 'waits')
  t.equal(queue.size, 1)

  t.same(await queue[Symbol.asyncIterator]().next(), value(1))
  await turn()
  t.equal(pushed(), true)
  t.equal(queue.size, 0)
})

t.test('with a capacity of n, only the push after n waiting events waits', async t => {
  const queue = new EventQueue({ capacity: 2 })
  const pushed = [1, 2, 3].map(data => watch(queue.push({ data })))
  await turn()
  t.same(pushed.map(state => state()), [true, true, 'waits'])
  t.equal(queue.size, 3)

  const reader = queue[Symbol.asyncIterator]()
  t.same(await reader.next(), value(1))
  await turn()
  t.equal(pushed[2]!(), true, 'the read event frees its place in the queue')
  t.equal(queue.size, 2)
  t.same(await reader.next(), value(2))
  t.same(await reader.next(), value(3))
})

t.test('a waiting reader receives an event at once', async t => {
  const queue = new EventQueue()
  const taken = queue[Symbol.asyncIterator]().next()
  t.equal(await queue.push({ data: 'now' }), true)
  t.same(await taken, value('now'))
  t.equal(queue.size, 0)
})

t.test('several pending next() resolve in order', async t => {
  const queue = new EventQueue()
  const reader = queue[Symbol.asyncIterator]()
  const taken = [reader.next(), reader.next(), reader.next()]
  t.equal(await queue.push({ data: 'a' }), true)
  t.equal(await queue.push({ data: 'b' }), true)
  queue.end()
  t.same(await Promise.all(taken), [value('a'), value('b'), done])
})

// After p pushes and n calls of next(), in any order: the first min(p, n) events are read, in order, and
// the first capacity + n pushes have settled. This is the complete model of the queue.
t.test('events keep their order and pushes wait as in a Go channel, for any capacity and any interleaving', async () => {
  await fc.assert(fc.asyncProperty(
    fc.nat({ max: 4 }),
    fc.array(fc.constantFrom('push', 'take'), { maxLength: 24 }),
    fc.constantFrom('end', 'leave'),
    async (capacity, steps, last) => {
      const queue = new EventQueue({ capacity })
      const reader = queue[Symbol.asyncIterator]()
      const pushes: Array<() => unknown> = []
      const takes: Array<() => unknown> = []
      const check = async (expectedPush: (nth: number) => unknown, expectedTake: (nth: number) => unknown) => {
        await turn()
        assertSame(pushes.map(state => state()), pushes.map((_, nth) => expectedPush(nth)))
        assertSame(takes.map(state => state()), takes.map((_, nth) => expectedTake(nth)))
      }
      const settled = (nth: number) => nth < capacity + takes.length
      for (const step of steps) {
        if (step === 'push') pushes.push(watch(queue.push({ data: pushes.length })))
        else takes.push(watch(reader.next()))
        await check(nth => settled(nth) ? true : 'waits', nth => nth < pushes.length ? value(nth) : 'waits')
        assertSame(queue.size, Math.max(0, pushes.length - takes.length))
      }
      const { length } = pushes
      if (last === 'end') {
        queue.end()
        await check(nth => settled(nth) ? true : 'waits', nth => nth < length ? value(nth) : done)
        while (takes.length <= length) takes.push(watch(reader.next()))
        await check(() => true, nth => nth < length ? value(nth) : done)
      } else {
        const before = takes.length
        await reader.return!()
        takes.push(watch(reader.next()))
        await check(nth => nth < capacity + before, nth => nth < Math.min(length, before) ? value(nth) : done)
      }
    }
  ), { numRuns: 60 })
})

function assertSame (actual: unknown, expected: unknown): void {
  const [got, wanted] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (got !== wanted) throw new Error(`got ${got}, wanted ${wanted}`)
}

t.test('concurrent producers lose no event, and each keeps its order', async t => {
  const queue = new EventQueue({ capacity: 3 })
  const produce = async (producer: number) => {
    for (let nth = 0; nth < 50; nth++) await queue.push({ event: String(producer), data: nth })
  }
  const all = Promise.all(Array.from({ length: 8 }, (_, producer) => produce(producer))).then(() => queue.end())
  const seen = new Map<string | undefined, unknown[]>()
  for await (const { event, data } of queue) seen.set(event, [...(seen.get(event) ?? []), data])
  await all
  t.equal(seen.size, 8)
  for (const numbers of seen.values()) t.same(numbers, Array.from({ length: 50 }, (_, nth) => nth))
})

t.test('return() of the reader resolves every push to false, pending or later, and aborts the signal', async t => {
  const queue = new EventQueue({ capacity: 1 })
  const aborted: unknown[] = []
  queue.signal.addEventListener('abort', () => aborted.push(queue.size))
  const waiting = [queue.push({ data: 1 }), queue.push({ data: 2 }), queue.push({ data: 3 })]
  const reader = queue[Symbol.asyncIterator]()
  t.equal(queue.signal.aborted, false)

  t.same(await reader.return!(), done)
  t.same(await Promise.all(waiting), [true, false, false])
  t.equal(queue.signal.aborted, true)
  t.same(await reader.next(), done, 'no event is left')
  t.equal(queue.size, 0)
  t.equal(await queue.push({ data: 4 }), false)
  await reader.return!()
  t.equal(aborted.length, 1, 'leaving twice is leaving once')
})

t.test('return() of the reader ends its pending next()', async t => {
  const queue = new EventQueue()
  const reader = queue[Symbol.asyncIterator]()
  const pending = reader.next()
  await reader.return!()
  t.same(await pending, done)
})

t.test('a break out of for await calls return()', async t => {
  const queue = new EventQueue()
  const produced = (async () => {
    let count = 0
    while (await queue.push({ data: count })) count++
    return count
  })()
  for await (const event of queue) if (event.data === 2) break
  t.equal(await produced, 3)
})

t.test('a producer that ignores the result of push() cannot starve the process', async t => {
  const queue = new EventQueue()
  await queue[Symbol.asyncIterator]().return!()
  const timer = { fired: false }
  setTimeout(() => { timer.fired = true }, 1)
  // A loop of microtasks would reach its bound before any timer.
  for (let pushes = 0; pushes < 1_000_000 && !timer.fired; pushes++) await queue.push({ data: pushes })
  t.equal(timer.fired, true)
})

t.test('after end(), the reader gets the queued events, then the end', async t => {
  const queue = new EventQueue({ capacity: 1 })
  const pushed = [queue.push({ data: 1 }), queue.push({ data: 2 })]
  queue.end()
  const reader = queue[Symbol.asyncIterator]()
  t.same([await reader.next(), await reader.next(), await reader.next(), await reader.next()], [value(1), value(2),
    done, done])
  t.same(await Promise.all(pushed), [true, true])
})

t.test('end(error) rejects one next(), after the queued events', async t => {
  const failure = new Error('the producer failed')
  const queue = new EventQueue({ capacity: 1 })
  await queue.push({ data: 1 })
  queue.end(failure)
  const reader = queue[Symbol.asyncIterator]()
  t.same(await reader.next(), value(1))
  await t.rejects(reader.next(), failure)
  t.same(await reader.next(), done)
})

t.test('end(error) rejects the first pending next() and ends the others', async t => {
  const failure = new Error('the producer failed')
  const queue = new EventQueue()
  const reader = queue[Symbol.asyncIterator]()
  const [first, second] = [reader.next(), reader.next()]
  queue.end(failure)
  await t.rejects(first, failure)
  t.same(await second, done)
})

t.test('only the first end() counts', async t => {
  const queue = new EventQueue()
  queue.end()
  queue.end(new Error('too late'))
  t.same(await queue[Symbol.asyncIterator]().next(), done)
})

t.test('a push after end() rejects with FST_SSE_QUEUE_ENDED', async t => {
  const queue = new EventQueue()
  queue.end()
  await t.rejects(queue.push({ data: 1 }), { code: 'FST_SSE_QUEUE_ENDED' })
  t.equal(queue.size, 0)
})

t.test('a push after end() and return() resolves to false', async t => {
  const queue = new EventQueue()
  queue.end()
  await queue[Symbol.asyncIterator]().return!()
  t.equal(await queue.push({ data: 1 }), false)
})

t.test('a second reader throws FST_SSE_QUEUE_LOCKED', t => {
  const queue = new EventQueue()
  queue[Symbol.asyncIterator]()
  t.throws(() => queue[Symbol.asyncIterator](), { code: 'FST_SSE_QUEUE_LOCKED' })
  t.end()
})

t.test('a capacity that is no whole number throws FST_SSE_OPTION', t => {
  for (const [capacity, shown] of [[-1, '-1 (number)'], [1.5, '1.5 (number)'], [NaN, 'NaN (number)'], [Infinity,
    'Infinity (number)'], ['3', '"3" (string)'], [null, 'null']]) {
    t.throws(() => new EventQueue({ capacity } as EventQueueOptions), {
      code: 'FST_SSE_OPTION',
      message: `Option 'capacity' must be a whole number, 0 or more, got ${shown}`
    })
  }
  t.doesNotThrow(() => new EventQueue({ capacity: undefined }))
  t.end()
})
