import { createReadStream } from 'node:fs'
import { PassThrough, Readable } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { EventQueue } from '../../lib/source/event-queue.ts'
import {
  dispose, asChannelSources, evaluateSource, iterate as iterateGiven, kSubscribed, type EventIterator,
  type PublishContext
} from '../../lib/source/source.ts'

const context: PublishContext = { signal: new AbortController().signal, lastEventId: '7' }
const events = [{ data: 1 }, { data: 2 }]

async function * generate () { yield * events }

/** Reads a source as a stream does. */
function iterate (source: unknown, context: PublishContext): EventIterator | Promise<EventIterator> {
  const value = evaluateSource(source, context)
  return value instanceof Promise ? value.then(iterateGiven) : iterateGiven(value)
}

/** Returns all values of a source, by the iterator that a stream uses. */
async function readAll (source: unknown): Promise<unknown[]> {
  const iterator = await iterate(source, context)
  const values: unknown[] = []
  for (let step = await iterator.next(); step.done !== true; step = await iterator.next()) values.push(step.value)
  return values
}

function queueOf (values: Array<{ data: number }>): EventQueue {
  const queue = new EventQueue({ capacity: values.length })
  for (const event of values) queue.push(event)
  queue.end()
  return queue
}

/** A duplex of another streams library, with the same shape as Node's. */
class ForeignStream {
  destroyed = false
  pipe () {}
  destroy () { this.destroyed = true }
  [Symbol.asyncIterator] () { return generate() }
}

const kinds: Array<[kind: string, make: () => unknown]> = [
  ['an async generator', generate],
  ['a generator', () => (function * () { yield * events })()],
  ['an array', () => events],
  ['a Set', () => new Set(events)],
  ['an async iterable', () => ({ [Symbol.asyncIterator]: generate })],
  ['a Node readable', () => Readable.from(events)],
  ['a readable of another library', () => new ForeignStream()],
  ['a web stream', () =>
    new Blob([JSON.stringify(events)]).stream().pipeThrough(new TransformStream({
      transform: (bytes, controller) => {
        for (const event of JSON.parse(new TextDecoder().decode(bytes))) controller.enqueue(event)
      }
    }))],
  ['an EventQueue', () => queueOf(events)]
]

for (const [kind, make] of kinds) {
  t.test(`${kind} is a source, and a function that returns it, or a promise of it, is one too`, async t => {
    t.same(await readAll(make()), events)
    t.same(await readAll(make), events)
    t.same(await readAll(async () => make()), events)
  })
}

t.test('a function source receives the signal and the last event id', async t => {
  const calls: unknown[][] = []
  t.same(await readAll((...given: unknown[]) => { calls.push(given); return events }), events)
  t.same(await readAll(async function * (given: PublishContext) { yield given.lastEventId }), ['7'])
  t.equal(calls.length, 1)
  t.equal(calls[0]!.length, 1)
  t.equal(calls[0]![0], context)
})

t.test('an error or rejection of a function source is passed on unchanged', async t => {
  const failure = new Error('no source today')
  t.throws(() => iterate(() => { throw failure }, context), failure)
  await t.rejects(readAll(async () => { throw failure }), failure)
})

const NO_SOURCES: Array<[value: unknown, shown: string]> = [
  ['text', '"text" (string)'],
  [3, '3 (number)'],
  [null, 'null'],
  [undefined, 'undefined'],
  [{ data: 1 }, 'an object (Object)'],
  [{ next: () => ({ done: true }) }, 'an object (Object)'],
  [() => () => events, 'a function']
]
for (const [value, shown] of NO_SOURCES) {
  t.test(`L10: ${shown} is no source and throws FST_SSE_SOURCE`, async t => {
    const rejection = {
      code: 'FST_SSE_SOURCE',
      message:
        `A source must be an async iterable, an iterable, a readable stream, a channel or a function that returns one of these, got ${shown}`
    }
    t.throws(() => iterate(typeof value === 'function' ? value : () => value, context), rejection)
    if (typeof value !== 'function') t.throws(() => iterate(value, context), rejection)
    await t.rejects(readAll(async () => typeof value === 'function' ? value() : value), rejection)
  })
}

t.test('generators have throw(), streams and queues do not', async t => {
  for (const [kind, make] of kinds) {
    const iterator = await iterate(make(), context)
    t.equal(typeof iterator.throw, /generator|async iterable/.test(kind) ? 'function' : 'undefined', kind)
    await iterator.return?.()
  }
})

t.test('L3: return() destroys a Node readable while its next() is pending', async t => {
  const stream = new PassThrough({ objectMode: true })
  const iterator = await iterate(stream, context)
  const pending = Promise.resolve(iterator.next())
  iterator.return!()
  t.equal(stream.destroyed, true)
  await t.rejects(pending, { code: 'ERR_STREAM_PREMATURE_CLOSE' })
})

t.test('L3: return() cancels a web stream while its next() is pending', async t => {
  let cancelled = 0
  const iterator = await iterate(new ReadableStream({ cancel () { cancelled++ } }), context)
  const pending = iterator.next()
  await iterator.return!()
  t.equal(cancelled, 1)
  t.same(await pending, { done: true, value: undefined })
})

t.test('L3: return() releases the producer of an EventQueue while next() is pending', async t => {
  const queue = new EventQueue()
  const iterator = await iterate(queue, context)
  const pending = iterator.next()
  await iterator.return!()
  t.same(await pending, { done: true, value: undefined })
  t.equal(await queue.push({ data: 1 }), false)
})

t.test('an error of a Node readable rejects next()', async t => {
  const iterator = await iterate(new Readable({
    objectMode: true,
    read () {
      this.destroy(new Error('disk on fire'))
    }
  }), context)
  await t.rejects(Promise.resolve(iterator.next()), { message: 'disk on fire' })
})

t.test('dispose() never starts a generator, and finishes it', async t => {
  let started = 0
  const sync = (function * () { started++; yield events[0] })()
  const async = (async function * () { started++; yield events[0] })()
  dispose(sync)
  dispose(async)
  t.same(sync.next(), { done: true, value: undefined })
  t.same(await async.next(), { done: true, value: undefined })
  t.equal(started, 0)
})

t.test('dispose() destroys a Node readable, also one of another library', t => {
  const stream = Readable.from(events)
  const foreign = new ForeignStream()
  dispose(stream)
  dispose(foreign)
  t.equal(stream.destroyed, true)
  t.equal(foreign.destroyed, true)
  t.end()
})

t.test('dispose() cancels a web stream', t => {
  let cancelled = 0
  dispose(new ReadableStream({ cancel () { cancelled++ } }))
  t.equal(cancelled, 1)
  t.end()
})

t.test('dispose() resolves the pushes of an EventQueue to false', async t => {
  const queue = new EventQueue()
  const pushed = queue.push({ data: 1 })
  dispose(queue)
  t.equal(await pushed, false)
  t.equal(queue.signal.aborted, true)
})

t.test('dispose() returns an async iterable that was never read', t => {
  let returned = 0
  dispose({ [Symbol.asyncIterator]: () => ({ next () {}, return () { returned++ } }) })
  dispose({ [Symbol.asyncIterator]: () => ({ next () {} }) })
  t.equal(returned, 1)
  t.end()
})

t.test('dispose() ignores values without a handle, and never calls a function', t => {
  for (const value of [events, new Set(events), 'text', null, undefined, 5, {}]) t.doesNotThrow(() => dispose(value))
  dispose(() => t.fail('called'))
  t.end()
})

t.test('dispose() ignores the errors of a source', async t => {
  const locked = new ReadableStream()
  locked.getReader()
  const taken = new EventQueue()
  taken[Symbol.asyncIterator]()
  const failing = () => { throw new Error('not now') }
  for (const source of [
    locked,
    taken,
    { [Symbol.asyncIterator]: () => ({ return: failing }) },
    { [Symbol.asyncIterator]: () => ({ return: async () => failing() }) },
    { [Symbol.asyncIterator]: failing }
  ]) t.doesNotThrow(() => dispose(source))
  // An unhandled rejection would fail this file.
  await turn()
})

t.test('dispose() ignores a file that cannot be opened, and a promise that rejects', async t => {
  const file = createReadStream('/there/is/no/such/file')
  dispose(file)
  const error = new Error('no')
  dispose(Promise.reject(error))
  const late = Readable.from([1])
  dispose(Promise.resolve(late))
  await Promise.all([file, late].map(stream =>
    new Promise<void>(resolve => {
      ;(stream as Readable).once('close', resolve)
    })
  ))
  t.ok(late.destroyed)
})

t.test('a function may return its source through any thenable', async t => {
  const thenable = { then: (resolve: (source: unknown) => void) => { resolve([1]) } }
  const iterator = await iterate(() => thenable, { signal: new AbortController().signal, lastEventId: undefined })
  t.strictSame(await iterator.next(), { done: false, value: 1 })
})

t.test('asChannelSources() detects a channel and a list of channels', async t => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  t.equal(asChannelSources([proxy]), undefined, 'a revoked proxy is no channel')
  const [one, other] = [{ [kSubscribed]: 'one' }, { get [kSubscribed] (): unknown { return t.fail('looked at') } }]
  t.equal(asChannelSources(one)?.[0], one)
  t.same(asChannelSources([one])?.map(each => each === one), [true])
  t.same(asChannelSources([one, other])?.map(each => each === one), [true, false])
  for (const source of [[one, { data: 1 }], [undefined, one]]) {
    t.throws(() => asChannelSources(source), {
      code: 'FST_SSE_SOURCE',
      message: /got an array of channels and other values$/
    })
  }
  for (const source of [[], [[one]], new Set([one]), () => one, generate(), 'text', null, undefined, 5]) {
    t.equal(asChannelSources(source), undefined)
  }
})

t.test('a source is available at once, unless it is a promise', async t => {
  t.equal(evaluateSource(events, context), events)
  t.equal(evaluateSource(() => events, context), events)
  t.equal(evaluateSource('text', context), 'text')
  const promised = evaluateSource(async () => events, context)
  t.ok(promised instanceof Promise)
  t.equal(await promised, events)
})
