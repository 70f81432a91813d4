import t from 'tap'
import { Pump, type EventSink } from '../../lib/source/pump.ts'
import { Scope } from '../../lib/scope.ts'
import { kSubscribed } from '../../lib/source/source.ts'

/** A sink that records its calls. `room`: the number of events that it accepts. */
function makeSink (
  room = Infinity
): EventSink & {
  received: unknown[]
  room: number
  onWrite: ((event: unknown) => void) | undefined
  ended: Promise<void>
} {
  let settle: () => void = () => {}
  const ended = new Promise<void>(resolve => { settle = resolve })
  return {
    scope: new Scope(),
    received: [],
    room,
    onWrite: undefined,
    ended,
    hasRoom () { return this.room > 0 },
    write (event) {
      this.room--
      this.received.push(event)
      this.onWrite?.(event)
    },
    complete () {
      this.received.push('done')
      settle()
    },
    fail (error) {
      this.received.push(['failed', error])
      settle()
    },
    failLate (error) {
      lateErrors.push(error)
      settle()
    }
  }
}

// The late errors of all tests, in order.
let lateErrors: unknown[] = []
t.beforeEach(() => { lateErrors = [] })

/**
 * An assertion may spend the budget of its iteration of the event loop: the next event is then pulled in the next one.
 */
const turn = (): Promise<void> => new Promise(setImmediate)

const context = { signal: new AbortController().signal, lastEventId: undefined }

t.test('a sink receives every event in order, then the end', async t => {
  const kinds: Array<[string, unknown]> = [
    ['iterable', [1, 2, 3]],
    ['async generator', (async function * () { yield * [1, 2, 3] })()],
    ['function', () => [1, 2, 3]],
    ['async function', async () => [1, 2, 3]]
  ]
  for (const [kind, source] of kinds) {
    const sink = makeSink()
    new Pump(sink).start(source, context)
    await sink.ended
    t.strictSame(sink.received, [1, 2, 3, 'done'], kind)
  }
})

t.test('L4: an event is pulled only if the sink has room', async t => {
  let pulled = 0
  const sink = makeSink(2)
  const pump = new Pump(sink)
  pump.start((function * () { for (;;) yield ++pulled })(), context)
  await turn()
  t.strictSame([sink.received, pulled], [[1, 2], 2])
  sink.room = 1
  pump.pull()
  await turn()
  t.strictSame([sink.received, pulled], [[1, 2, 3], 3])
  pump.stop()
})

t.test('L4: a source that is always ready does not block the event loop', async t => {
  const sink = makeSink()
  const pump = new Pump(sink)
  t.teardown(() => pump.stop())
  pump.start((function * () { for (let n = 0; ; n++) yield n })(), context)
  await new Promise(resolve => setTimeout(resolve, 1))
  const before = sink.received.length
  await new Promise(resolve => setTimeout(resolve, 1))
  t.ok(sink.received.length > before, 'and goes on after it')
})

t.test('an error of the source fails it, at any place', async t => {
  const error = new Error('no')
  const fail = (): never => { throw error }
  const kinds: Array<[string, unknown]> = [
    ['function', fail],
    ['async function', async () => fail()],
    ['generator', (function * () { fail() })()],
    ['async generator', (async function * () { fail() })()]
  ]
  for (const [kind, source] of kinds) {
    const sink = makeSink()
    new Pump(sink).start(source, context)
    await sink.ended
    t.strictSame(sink.received, [['failed', error]], kind)
  }
  const sink = makeSink()
  new Pump(sink).start('text', context)
  t.match(sink.received, [['failed', { code: 'FST_SSE_SOURCE' }]])
})

t.test('C2: the error of a rejected event is thrown into the generator at its yield, and the generator may continue', async t => {
  const error = new Error('refused')
  async function * source (): AsyncGenerator<unknown> {
    try {
      yield 'bad'
    } catch (caught) {
      yield caught
    }
  }
  const sink = makeSink()
  const pump = new Pump(sink)
  sink.onWrite = event => { if (event === 'bad') pump.rejectEvent(error) }
  pump.start(source(), context)
  await sink.ended
  t.strictSame(sink.received, ['bad', error, 'done'])
})

t.test('C2: a source without throw() is stopped and fails with the error of a rejected event', async t => {
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
  const sink = makeSink()
  const pump = new Pump(sink)
  sink.onWrite = () => pump.rejectEvent(error)
  pump.start(source, context)
  await turn()
  t.strictSame([sink.received, returned], [['bad', ['failed', error]], 1])
})

t.test('C2: a generator that delegates to an array fails with the rejection, and the TypeError of the engine is its cause', async t => {
  const engine = new TypeError("The iterator does not provide a 'throw' method")
  const own = new Error('from the catch block')
  for (const [thrown, failed] of [[engine, 'refusal'], [own, 'own'], [undefined, 'refusal']] as const) {
    const refusal = new Error('refused')
    const sink = makeSink()
    const pump = new Pump(sink)
    sink.onWrite = () => pump.rejectEvent(refusal)
    pump.start({
      [Symbol.asyncIterator]: () => ({
        next: async () => ({ done: false, value: 'bad' }),
        throw: async (error: unknown) => { throw thrown ?? error }
      })
    }, context)
    await sink.ended
    t.strictSame(sink.received, ['bad', ['failed', failed === 'own' ? own : refusal]])
    t.equal(refusal.cause, thrown === engine ? engine : undefined)
  }
})

t.test('L3: stop() calls return() once, also while next() is pending, and no event follows', async t => {
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
  const sink = makeSink()
  const pump = new Pump(sink)
  pump.start(source, context)
  pump.stop()
  pump.stop()
  settle({ done: false, value: 'late' })
  await turn()
  t.strictSame([sink.received, returned], [[], 1])
})

t.test('L3: return() is called on a source that a function returns after stop()', async t => {
  let started = false
  let returned = false
  let give: (source: unknown) => void = () => {}
  const sink = makeSink()
  const pump = new Pump(sink)
  pump.start(() => new Promise(resolve => { give = resolve }), context)
  pump.stop()
  give({
    [Symbol.asyncIterator]: () => ({
      next: () => { started = true },
      return: () => { returned = true }
    })
  })
  await turn()
  t.strictSame([sink.received, started, returned], [[], false, true])
})

t.test('an error of the source after stop() is a late error', async t => {
  const error = new Error('late')
  const stops: Array<[string, () => unknown]> = [
    ['return() throws', () => { throw error }],
    ['return() rejects', () => Promise.reject(error)]
  ]
  for (const [kind, stop] of stops) {
    lateErrors = []
    const sink = makeSink()
    const pump = new Pump(sink)
    pump.start({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}), return: stop }) }, context)
    pump.stop()
    await sink.ended
    t.strictSame([lateErrors, sink.received], [[error], []], kind)
  }

  lateErrors = []
  const sink = makeSink()
  const pump = new Pump(sink)
  // The first step waits for the next turn of the event loop if this turn has taken long.
  const step = new Promise<(error: Error) => void>(resolve => {
    pump.start({
      [Symbol.asyncIterator]: () => ({ next: () => new Promise((_resolve, reject) => { resolve(reject) }) })
    }, context)
  })
  const fail = await step
  pump.stop()
  fail(error)
  await sink.ended
  t.strictSame([lateErrors, sink.received], [[error], []], 'next() rejects')
})

t.test('C2: if an event is rejected during the last step of a generator, then the source fails', async t => {
  const error = new Error('refused')
  let finish: () => void = () => {}
  const sink = makeSink()
  const pump = new Pump(sink)
  pump.start((async function * () {
    yield 1
    await new Promise<void>(resolve => { finish = resolve })
  })(), context)
  await turn()
  pump.rejectEvent(error)
  finish()
  await sink.ended
  t.strictSame(sink.received, [1, ['failed', error]])
})

// Channels

const channel = { [kSubscribed]: 'channel', async * [Symbol.asyncIterator] () { yield 'read' } }

t.test('a sink with subscribe() receives the channels of any form of source', async t => {
  const sources: Array<[string, unknown, number]> = [
    ['one', channel, 1],
    ['several', [channel, channel], 2],
    ['function', () => channel, 1],
    ['async function', async () => [channel, channel], 2]
  ]
  for (const [kind, source, count] of sources) {
    const sink = makeSink()
    const subscribed = new Promise<unknown[]>(resolve => { sink.subscribe = resolve })
    const pump = new Pump(sink)
    pump.start(source, context)
    t.strictSame((await subscribed).map(each => each === channel), Array<boolean>(count).fill(true), kind)
    pump.pull()
    pump.stop()
    await turn()
    t.strictSame(sink.received, [], 'the pump has nothing to pull')
  }
})

t.test('a sink without subscribe() receives the events of a subscription one by one', async t => {
  const sink = makeSink()
  new Pump(sink).start(channel, context)
  await sink.ended
  t.strictSame(sink.received, ['read', 'done'])
})

t.test('L3: a channel that a function returns after stop() is not subscribed', async t => {
  const sink = makeSink()
  sink.subscribe = () => t.fail('subscribed')
  const pump = new Pump(sink)
  let give: (source: unknown) => void = () => {}
  pump.start(() => new Promise(resolve => { give = resolve }), context)
  pump.stop()
  give(channel)
  await turn()
  t.strictSame(sink.received, [])
})

t.test('an error of subscribe() fails the source', async t => {
  const error = new Error('not this one')
  for (const source of [channel, async () => channel]) {
    const sink = makeSink()
    sink.subscribe = () => { throw error }
    new Pump(sink).start(source, context)
    await sink.ended
    t.strictSame(sink.received, [['failed', error]])
  }
})
