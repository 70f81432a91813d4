import t from 'tap'
import { Pump, type EventSink } from '../../lib/source/pump.ts'
import { Scope } from '../../lib/scope.ts'
import { kSubscribed } from '../../lib/source/source.ts'

/** A taker that notes what it is told; `room` says how many events it wants. */
function makeTaker (room = Infinity): EventSink & { told: unknown[], room: number, onTake: ((event: unknown) => void) | undefined, ended: Promise<void> } {
  let settle: () => void = () => {}
  const ended = new Promise<void>(resolve => { settle = resolve })
  return {
    scope: new Scope(),
    told: [],
    room,
    onTake: undefined,
    ended,
    hasRoom () { return this.room > 0 },
    write (event) {
      this.room--
      this.told.push(event)
      this.onTake?.(event)
    },
    complete () {
      this.told.push('done')
      settle()
    },
    fail (error) {
      this.told.push(['failed', error])
      settle()
    },
    failLate (error) {
      taken.push(error)
      settle()
    }
  }
}

// What comes too late, of all tests: one after the other.
let taken: unknown[] = []
t.beforeEach(() => { taken = [] })

/** An assertion may use up its turn of the event loop, and what is pulled then comes in the next. */
const turn = (): Promise<void> => new Promise(setImmediate)

const context = { signal: new AbortController().signal, lastEventId: undefined }

t.test('every event is taken in order, then the source is done', async t => {
  const kinds: Array<[string, unknown]> = [
    ['iterable', [1, 2, 3]],
    ['async generator', (async function * () { yield * [1, 2, 3] })()],
    ['function', () => [1, 2, 3]],
    ['async function', async () => [1, 2, 3]]
  ]
  for (const [kind, source] of kinds) {
    const taker = makeTaker()
    new Pump(taker).start(source, context)
    await taker.ended
    t.strictSame(taker.told, [1, 2, 3, 'done'], kind)
  }
})

t.test('L4: an event is pulled only when there is room for it', async t => {
  let pulled = 0
  const taker = makeTaker(2)
  const pump = new Pump(taker)
  pump.start((function * () { for (;;) yield ++pulled })(), context)
  await turn()
  t.strictSame([taker.told, pulled], [[1, 2], 2])
  taker.room = 1
  pump.pull()
  await turn()
  t.strictSame([taker.told, pulled], [[1, 2, 3], 3])
  pump.stop()
})

t.test('L4: a source that is always ready lets the event loop turn', async t => {
  const taker = makeTaker()
  const pump = new Pump(taker)
  t.teardown(() => pump.stop())
  pump.start((function * () { for (let n = 0; ; n++) yield n })(), context)
  await new Promise(resolve => setTimeout(resolve, 1))
  const before = taker.told.length
  await new Promise(resolve => setTimeout(resolve, 1))
  t.ok(taker.told.length > before, 'and goes on after it')
})

t.test('a source that throws has failed, wherever it throws', async t => {
  const error = new Error('no')
  const fail = (): never => { throw error }
  const kinds: Array<[string, unknown]> = [
    ['function', fail],
    ['async function', async () => fail()],
    ['generator', (function * () { fail() })()],
    ['async generator', (async function * () { fail() })()]
  ]
  for (const [kind, source] of kinds) {
    const taker = makeTaker()
    new Pump(taker).start(source, context)
    await taker.ended
    t.strictSame(taker.told, [['failed', error]], kind)
  }
  const taker = makeTaker()
  new Pump(taker).start('text', context)
  t.match(taker.told, [['failed', { code: 'FST_SSE_SOURCE' }]])
})

t.test('C2: a refused event is thrown into the generator at its yield, which may go on', async t => {
  const error = new Error('refused')
  async function * source (): AsyncGenerator<unknown> {
    try {
      yield 'bad'
    } catch (caught) {
      yield caught
    }
  }
  const taker = makeTaker()
  const pump = new Pump(taker)
  taker.onTake = event => { if (event === 'bad') pump.refuse(error) }
  pump.start(source(), context)
  await taker.ended
  t.strictSame(taker.told, ['bad', error, 'done'])
})

t.test('C2: a source that cannot be told is stopped, and has failed', async t => {
  const error = new Error('refused')
  let returned = 0
  const source = {
    [Symbol.iterator]: () => ({
      next: () => ({ done: false, value: 'bad' }),
      return: () => {
        returned++
        return { done: true, value: undefined }
      }
    })
  }
  const taker = makeTaker()
  const pump = new Pump(taker)
  taker.onTake = () => pump.refuse(error)
  pump.start(source, context)
  await turn()
  t.strictSame([taker.told, returned], [['bad', ['failed', error]], 1])
})

t.test('C2: a generator that delegates to what cannot be told has failed with the refusal, the engine\'s error its cause', async t => {
  const engine = new TypeError("The iterator does not provide a 'throw' method")
  const own = new Error('from the catch block')
  for (const [thrown, failed] of [[engine, 'refusal'], [own, 'own'], [undefined, 'refusal']] as const) {
    const refusal = new Error('refused')
    const taker = makeTaker()
    const pump = new Pump(taker)
    taker.onTake = () => pump.refuse(refusal)
    pump.start({
      [Symbol.asyncIterator]: () => ({
        next: async () => ({ done: false, value: 'bad' }),
        throw: async (error: unknown) => { throw thrown ?? error }
      })
    }, context)
    await taker.ended
    t.strictSame(taker.told, ['bad', ['failed', failed === 'own' ? own : refusal]])
    t.equal(refusal.cause, thrown === engine ? engine : undefined)
  }
})

t.test('L3: stop returns the source once, also while next() is pending, and nothing comes after it', async t => {
  let returned = 0
  let settle: (step: IteratorResult<unknown>) => void = () => {}
  const source = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<IteratorResult<unknown>>(resolve => { settle = resolve }),
      return: async () => {
        returned++
        return { done: true as const, value: undefined }
      }
    })
  }
  const taker = makeTaker()
  const pump = new Pump(taker)
  pump.start(source, context)
  pump.stop()
  pump.stop()
  settle({ done: false, value: 'late' })
  await turn()
  t.strictSame([taker.told, returned], [[], 1])
})

t.test('L3: a function that gives its source after the stop has it returned', async t => {
  let started = false
  let returned = false
  let give: (source: unknown) => void = () => {}
  const taker = makeTaker()
  const pump = new Pump(taker)
  pump.start(() => new Promise(resolve => { give = resolve }), context)
  pump.stop()
  give({
    [Symbol.asyncIterator]: () => ({
      next: () => { started = true },
      return: () => { returned = true }
    })
  })
  await turn()
  t.strictSame([taker.told, started, returned], [[], false, true])
})

t.test('what a source throws after the stop is told apart', async t => {
  const error = new Error('late')
  const stops: Array<[string, () => unknown]> = [
    ['return() throws', () => { throw error }],
    ['return() rejects', () => Promise.reject(error)]
  ]
  for (const [kind, stop] of stops) {
    taken = []
    const taker = makeTaker()
    const pump = new Pump(taker)
    pump.start({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}), return: stop }) }, context)
    pump.stop()
    await taker.ended
    t.strictSame([taken, taker.told], [[error], []], kind)
  }

  taken = []
  const taker = makeTaker()
  const pump = new Pump(taker)
  let fail: (error: Error) => void = () => {}
  pump.start({ [Symbol.asyncIterator]: () => ({ next: () => new Promise((_resolve, reject) => { fail = reject }) }) }, context)
  pump.stop()
  fail(error)
  await taker.ended
  t.strictSame([taken, taker.told], [[error], []], 'next() rejects')
})

t.test('C2: a refusal that comes during the last step of a generator, which cannot be told any more, is its failure', async t => {
  const error = new Error('refused')
  let finish: () => void = () => {}
  const taker = makeTaker()
  const pump = new Pump(taker)
  pump.start((async function * () {
    yield 1
    await new Promise<void>(resolve => { finish = resolve })
  })(), context)
  await turn()
  pump.refuse(error)
  finish()
  await taker.ended
  t.strictSame(taker.told, [1, ['failed', error]])
})

// Channels

const channel = { [kSubscribed]: 'channel', async * [Symbol.asyncIterator] () { yield 'read' } }

t.test('channels are handed over to a taker that follows, whichever way they are given', async t => {
  const sources: Array<[string, unknown, number]> = [
    ['one', channel, 1],
    ['several', [channel, channel], 2],
    ['function', () => channel, 1],
    ['async function', async () => [channel, channel], 2]
  ]
  for (const [kind, source, count] of sources) {
    const taker = makeTaker()
    const followed = new Promise<unknown[]>(resolve => { taker.subscribe = resolve })
    const pump = new Pump(taker)
    pump.start(source, context)
    t.strictSame((await followed).map(each => each === channel), Array<boolean>(count).fill(true), kind)
    pump.pull()
    pump.stop()
    await turn()
    t.strictSame(taker.told, [], 'the pump has nothing to pull')
  }
})

t.test('a taker that does not follow is given the events of a subscription one by one', async t => {
  const taker = makeTaker()
  new Pump(taker).start(channel, context)
  await taker.ended
  t.strictSame(taker.told, ['read', 'done'])
})

t.test('L3: a channel that a function gives after the stop is not followed', async t => {
  const taker = makeTaker()
  taker.subscribe = () => t.fail('followed')
  const pump = new Pump(taker)
  let give: (source: unknown) => void = () => {}
  pump.start(() => new Promise(resolve => { give = resolve }), context)
  pump.stop()
  give(channel)
  await turn()
  t.strictSame(taker.told, [])
})

t.test('a taker that cannot follow what it was handed has failed with that', async t => {
  const error = new Error('not this one')
  for (const source of [channel, async () => channel]) {
    const taker = makeTaker()
    taker.subscribe = () => { throw error }
    new Pump(taker).start(source, context)
    await taker.ended
    t.strictSame(taker.told, [['failed', error]])
  }
})
