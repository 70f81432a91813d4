import { setImmediate as turn } from 'node:timers/promises'
import { Readable } from 'node:stream'
import t from 'tap'
import { Producer, isEndedError, type ProducerTarget } from '../../lib/channel/producer.ts'
import { FST_SSE_CHANNEL_ENDED } from '../../lib/errors.ts'
import { StreamClosedError } from '../../lib/lifecycle.ts'
import type { SourceContext } from '../../lib/source/source.ts'
import { oddities } from '../setup/oddities.ts'
import { within } from '../setup/within.ts'

/** A target that notes what it is told, in order. What `append` answers is in the test's hand. */
function makeTarget (append: (event: unknown) => unknown = () => undefined) {
  const told: unknown[] = []
  let settle: () => void
  const ended = new Promise<void>(resolve => { settle = resolve })
  const target: ProducerTarget = {
    append (event) {
      const appended = append(event)
      told.push(event)
      return appended
    },
    end (error) {
      told.push(error === undefined ? 'end' : { failed: error.cause })
      settle()
    },
    failLate: error => { told.push({ late: error }) },
    logEnded: () => { told.push('logEnded') }
  }
  return { target, told, ended }
}

interface Answer { promise: Promise<void>, resolve: () => void, reject: (error: Error) => void }

function withResolvers (): Answer {
  const answer = {} as Answer
  answer.promise = new Promise((resolve, reject) => Object.assign(answer, { resolve, reject }))
  return answer
}

/** Settles when it holds; what never does fails by the test's timeout. */
async function until (holds: () => boolean): Promise<void> {
  while (!holds()) await turn()
}

const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1)

const kinds: Array<[kind: string, source: () => unknown]> = [
  ['a list', () => [1, 2, 3]],
  ['an async generator', async function * () { yield * [1, 2, 3] }],
  ['a function', () => () => [1, 2, 3]],
  ['an async function', () => async () => new Set([1, 2, 3])],
  ['a stream', () => Readable.from([1, 2, 3])]
]
for (const [kind, source] of kinds) {
  t.test(`all events of ${kind} are appended in order, then the end`, async t => {
    for (const append of [() => undefined, () => turn()]) {
      const { target, told, ended } = makeTarget(append)
      new Producer(target).start(source())
      await within('the end', ended)
      t.strictSame(told, [1, 2, 3, 'end'])
    }
  })
}

t.test('the function form is given a signal and no position; the signal aborts with the reason of the stop', async t => {
  const contexts: SourceContext[] = []
  const { target, told } = makeTarget()
  const producer = new Producer(target)
  producer.start((context: SourceContext) => {
    contexts.push(context)
    return new Promise(() => {})
  })
  t.match(contexts, [{ lastEventId: undefined, signal: { aborted: false } }])
  const reason = new StreamClosedError('channel-ended')
  producer.stop(reason)
  t.equal(contexts[0]!.signal.aborted, true)
  t.equal(contexts[0]!.signal.reason, reason)
  await turn()
  t.strictSame(told, [])
})

t.test('L4: at most 64 events are on their way to the log, and the source waits', async t => {
  const settle: Array<(value?: unknown) => void> = []
  const { target, told, ended } = makeTarget(() => new Promise(resolve => { settle.push(resolve) }))
  let pulled = 0
  new Producer(target).start((function * () { while (pulled < 200) yield ++pulled })())
  await turn()
  await until(() => pulled >= 64)
  await turn()
  t.equal(pulled, 64)
  settle[0]!()
  await until(() => pulled >= 65)
  await turn()
  t.equal(pulled, 65)
  const settling = (async () => {
    while (told.at(-1) !== 'end') {
      for (const done of settle) done()
      await turn()
    }
  })()
  await within('the end', ended)
  await settling
  t.strictSame(told, [...upTo(200), 'end'])
})

t.test('the end comes when the log has all that was given before', async t => {
  let settle!: (value?: unknown) => void
  const { target, told, ended } = makeTarget(event => event === 2 ? new Promise(resolve => { settle = resolve }) : Promise.resolve())
  new Producer(target).start([1, 2])
  await turn()
  await turn()
  t.strictSame(told, [1, 2])
  settle()
  await within('the end', ended)
  t.strictSame(told, [1, 2, 'end'])
})

t.test('the end comes when the log has answered for all of it, in whatever order, and with the first thing that it refused', async t => {
  const answers: Array<Answer> = []
  const { target, told, ended } = makeTarget(() => {
    const answer = withResolvers()
    answers.push(answer)
    return answer.promise
  })
  new Producer(target).start([1, 2, 3])
  await until(() => answers.length === 3)
  answers[2]!.resolve()
  await turn()
  const error = new Error('full')
  answers[0]!.reject(error)
  await turn()
  t.strictSame(told, [1, 2, 3])
  answers[1]!.reject(new Error('full, too'))
  await within('the end', ended)
  t.strictSame(told, [1, 2, 3, { failed: error }])
})

t.test('an append may be answered by any thenable', async t => {
  const { target, told, ended } = makeTarget(() => ({ then: (resolve: () => void) => { setImmediate(resolve) } }))
  new Producer(target).start([1, 2])
  await within('the end', ended)
  t.strictSame(told, [1, 2, 'end'])
})

t.test('a source that fails ends it with its error, when the log has what was given before', async t => {
  const error = new Error('no more')
  let settle!: (value?: unknown) => void
  for (const thrown of [error, 'text', undefined]) {
    const { target, told, ended } = makeTarget(() => new Promise(resolve => { settle = resolve }))
    new Producer(target).start((async function * () {
      yield 1
      throw thrown
    })())
    await turn()
    await turn()
    t.strictSame(told, [1])
    settle()
    await within('the end', ended)
    t.strictSame(told, [1, { failed: thrown }])
  }
})

t.test('what is no source ends it with FST_SSE_SOURCE', async t => {
  for (const source of ['text', 5, null, undefined, {}, () => 5]) {
    const { target, told, ended } = makeTarget()
    new Producer(target).start(source)
    await within('the end', ended)
    t.match(told, [{ failed: { code: 'FST_SSE_SOURCE' } }])
  }
})

for (const [how, refuse] of [['at once', (error: Error) => { throw error }], ['later', (error: Error) => Promise.reject(error)]] as const) {
  t.test(`C2: a generator is told of a refused event at its yield, and may go on; refused ${how}`, async t => {
    const error = new Error('refused')
    const { target, told, ended } = makeTarget(event => event === 'bad' ? refuse(error) : undefined)
    new Producer(target).start((async function * () {
      try {
        yield 'bad'
        // Refused later, it is told with one of those that come next.
        for (;;) yield 'good'
      } catch (caught) {
        yield caught
      }
    })())
    await within('the end', ended)
    t.strictSame(told.filter(each => each !== 'good' && each !== 'bad'), [error, 'end'])
  })

  t.test(`C2: a source that cannot be told has failed with the refusal, once; refused ${how}`, async t => {
    const error = new Error('refused')
    const { target, told, ended } = makeTarget(event => event === 2 ? refuse(error) : undefined)
    new Producer(target).start([1, 2])
    await within('the end', ended)
    await turn()
    t.strictSame(told.filter(each => each !== 2), [1, { failed: error }], 'and does not end as if all had gone well')
  })

  t.test(`C2: a generator whose last event is refused has failed with that; refused ${how}`, async t => {
    const error = new Error('refused')
    const { target, told, ended } = makeTarget(() => refuse(error))
    new Producer(target).start((async function * () { yield 1 })())
    await within('the end', ended)
    await turn()
    t.strictSame(told.filter(each => each !== 1), [{ failed: error }])
  })
}

t.test('L3: stop ends the source, once, and nothing of it is appended after', async t => {
  let returned = 0
  let give!: (step: IteratorResult<unknown>) => void
  const { target, told } = makeTarget()
  const producer = new Producer(target)
  producer.start({
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise(resolve => { give = resolve }),
      return: async () => {
        returned++
        return { done: true, value: undefined }
      }
    })
  })
  producer.stop(new StreamClosedError('channel-ended'))
  producer.stop(new StreamClosedError('channel-ended'))
  give({ done: false, value: 'late' })
  await turn()
  t.strictSame(told, [])
  t.equal(returned, 1)
})

t.test('what the log refuses after the stop is no news', async t => {
  for (const source of [[1, 2], (async function * () { yield * [1, 2] })()]) {
    const rejects: Array<(error: Error) => void> = []
    const { target, told } = makeTarget(() => new Promise((_resolve, reject) => { rejects.push(reject) }))
    const producer = new Producer(target)
    producer.start(source)
    await until(() => rejects.length > 0)
    producer.stop(new StreamClosedError('channel-ended'))
    for (const reject of rejects) reject(new Error('ended'))
    await turn()
    t.strictSame(told.filter(each => typeof each === 'object'), [])
  }
})

t.test('what the source throws after the stop is told apart', async t => {
  const error = new Error('late')
  let fail!: (error: Error) => void
  const { target, told } = makeTarget()
  const producer = new Producer(target)
  producer.start({ [Symbol.asyncIterator]: () => ({ next: () => new Promise((_resolve, reject) => { fail = reject }) }) })
  producer.stop(new StreamClosedError('channel-ended'))
  fail(error)
  await turn()
  t.strictSame(told, [{ late: error }])
})

t.test('an append that is refused since the channel has ended is no failure of the source: the target learns that it is logEnded', async t => {
  const ended = new FST_SSE_CHANNEL_ENDED()
  const refusals: Array<[where: string, append: () => unknown]> = [['here', () => { throw ended }], ['elsewhere', async () => { throw ended }]]
  const sources: Array<[kind: string, source: () => unknown]> = [['a list', () => [1]], ['a generator', async function * () {
    try {
      yield 1
      await new Promise(() => {})
    } catch {
      t.fail('it is not told at its yield')
    }
  }]]
  for (const [where, append] of refusals) {
    for (const [kind, source] of sources) {
      const { target, told } = makeTarget(append)
      const producer = new Producer({ ...target, logEnded: () => { told.push('logEnded'); producer.stop(new StreamClosedError('channel-ended')) } })
      producer.start(source())
      await until(() => told.includes('logEnded'))
      await turn()
      t.strictSame(told.filter(each => each !== 1), ['logEnded'], `${kind}, a log ${where}`)
    }
  }
})

t.test('only the code says that a channel has ended', async t => {
  t.equal(isEndedError(new FST_SSE_CHANNEL_ENDED()), true)
  t.equal(isEndedError({ code: 'FST_SSE_CHANNEL_ENDED' }), true)
  for (const other of [undefined, null, new Error('The channel has ended'), 'FST_SSE_CHANNEL_ENDED', 1]) t.equal(isEndedError(other), false)
})

t.test('whatever a log rejects an append with, the producer fails, and no promise is left', async t => {
  for (const [what, thrown] of oddities()) {
    t.equal(isEndedError(thrown), false, what)
    const { target, told, ended } = makeTarget(() => Promise.reject(thrown))
    new Producer(target).start([1])
    await within(what, ended)
    t.ok((told.at(-1) as { failed: unknown }).failed === thrown, what)
  }
})
