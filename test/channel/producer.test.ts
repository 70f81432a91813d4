import { setImmediate as turn } from 'node:timers/promises'
import { Readable } from 'node:stream'
import t from 'tap'
import { Producer, isEndedError, type ProducerTarget } from '../../lib/channel/producer.ts'
import { FST_SSE_CHANNEL_ENDED } from '../../lib/errors.ts'
import { StreamClosedError } from '../../lib/lifecycle.ts'
import type { SourceContext } from '../../lib/source/source.ts'
import { oddities } from '../setup/oddities.ts'
import { within } from '../setup/within.ts'

/** A target that records its calls, in order. The test controls the answers of `append`. */
function makeTarget (append: (event: unknown) => unknown = () => undefined) {
  const calls: unknown[] = []
  let settle: () => void
  const ended = new Promise<void>(resolve => {
    settle = resolve
  })
  const target: ProducerTarget = {
    append (event) {
      const appended = append(event)
      calls.push(event)
      return appended
    },
    end (error) {
      calls.push(error === undefined ? 'end' : { failed: error.cause })
      settle()
    },
    failLate: error => {
      calls.push({ late: error })
    },
    logEnded: () => {
      calls.push('logEnded')
    }
  }
  return { target, calls, ended }
}

interface Answer {
  promise: Promise<void>
  resolve: () => void
  reject: (error: Error) => void
}

function withResolvers (): Answer {
  const answer = {} as Answer
  answer.promise = new Promise((resolve, reject) => Object.assign(answer, { resolve, reject }))
  return answer
}

/** Resolves when the condition condition; else the test times out. */
async function until (condition: () => boolean): Promise<void> {
  while (!condition()) await turn()
}

const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1)

const kinds: Array<[kind: string, source: () => unknown]> = [
  ['a list', () => [1, 2, 3]],
  ['an async generator', async function * () {
    yield * [1, 2, 3]
  }],
  ['a function', () => () => [1, 2, 3]],
  ['an async function', () => async () => new Set([1, 2, 3])],
  ['a stream', () => Readable.from([1, 2, 3])]
]
for (const [kind, source] of kinds) {
  t.test(`all events of ${kind} are appended in order, then the end`, async t => {
    for (const append of [() => undefined, () => turn()]) {
      const { target, calls, ended } = makeTarget(append)
      new Producer(target).start(source())
      await within('the end', ended)
      t.strictSame(calls, [1, 2, 3, 'end'])
    }
  })
}

t.test('the function form gets a signal and no position; the signal aborts with the reason of the stop', async t => {
  const contexts: SourceContext[] = []
  const { target, calls } = makeTarget()
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
  t.strictSame(calls, [])
})

t.test('L4: at most 64 appends are under way, and the source waits', async t => {
  const settle: Array<(value?: unknown) => void> = []
  const { target, calls, ended } = makeTarget(() =>
    new Promise(resolve => {
      settle.push(resolve)
    })
  )
  let pulled = 0
  new Producer(target).start((function * () {
    while (pulled < 200) yield ++pulled
  })())
  await turn()
  await until(() => pulled >= 64)
  await turn()
  t.equal(pulled, 64)
  settle[0]!()
  await until(() => pulled >= 65)
  await turn()
  t.equal(pulled, 65)
  const settling = (async () => {
    while (calls.at(-1) !== 'end') {
      for (const done of settle) done()
      await turn()
    }
  })()
  await within('the end', ended)
  await settling
  t.strictSame(calls, [...upTo(200), 'end'])
})

t.test('the producer ends when the log has stored all earlier events', async t => {
  let settle!: (value?: unknown) => void
  const { target, calls, ended } = makeTarget(event =>
    event === 2
      ? new Promise(resolve => {
        settle = resolve
      })
      : Promise.resolve()
  )
  new Producer(target).start([1, 2])
  await turn()
  await turn()
  t.strictSame(calls, [1, 2])
  settle()
  await within('the end', ended)
  t.strictSame(calls, [1, 2, 'end'])
})

t.test('the producer ends after all appends were answered, in any order, with the first rejection', async t => {
  const answers: Array<Answer> = []
  const { target, calls, ended } = makeTarget(() => {
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
  t.strictSame(calls, [1, 2, 3])
  answers[1]!.reject(new Error('full, too'))
  await within('the end', ended)
  t.strictSame(calls, [1, 2, 3, { failed: error }])
})

t.test('any thenable may answer an append', async t => {
  const { target, calls, ended } = makeTarget(() => ({
    then: (resolve: () => void) => {
      setImmediate(resolve)
    }
  }))
  new Producer(target).start([1, 2])
  await within('the end', ended)
  t.strictSame(calls, [1, 2, 'end'])
})

t.test('a source that fails ends the producer with its error, after its events were stored', async t => {
  const error = new Error('no more')
  let settle!: (value?: unknown) => void
  for (const thrown of [error, 'text', undefined]) {
    const { target, calls, ended } = makeTarget(() =>
      new Promise(resolve => {
        settle = resolve
      })
    )
    new Producer(target).start((async function * () {
      yield 1
      throw thrown
    })())
    await turn()
    await turn()
    t.strictSame(calls, [1])
    settle()
    await within('the end', ended)
    t.strictSame(calls, [1, { failed: thrown }])
  }
})

t.test('a value that is no source ends the producer with FST_SSE_SOURCE', async t => {
  for (const source of ['text', 5, null, undefined, {}, () => 5]) {
    const { target, calls, ended } = makeTarget()
    new Producer(target).start(source)
    await within('the end', ended)
    t.match(calls, [{ failed: { code: 'FST_SSE_SOURCE' } }])
  }
})

for (const [how, refuse] of [['at once', (error: Error) => {
  throw error
}], ['later', (error: Error) => Promise.reject(error)]] as const) {
  t.test(`C2: a rejected event is thrown at the yield of its generator, which may continue; rejected ${how}`, async t => {
    const error = new Error('refused')
    const { target, calls, ended } = makeTarget(event => event === 'bad' ? refuse(error) : undefined)
    new Producer(target).start((async function * () {
      try {
        yield 'bad'
        // A late rejection is thrown at one of the next yields.
        for (;;) yield 'good'
      } catch (caught) {
        yield caught
      }
    })())
    await within('the end', ended)
    t.strictSame(calls.filter(each => each !== 'good' && each !== 'bad'), [error, 'end'])
  })

  t.test(`C2: a source without throw fails with the rejection, once; rejected ${how}`, async t => {
    const error = new Error('refused')
    const { target, calls, ended } = makeTarget(event => event === 2 ? refuse(error) : undefined)
    new Producer(target).start([1, 2])
    await within('the end', ended)
    await turn()
    t.strictSame(calls.filter(each => each !== 2), [1, { failed: error }], 'and does not end as if it had succeeded')
  })

  t.test(`C2: a generator whose last event is rejected fails with the rejection; rejected ${how}`, async t => {
    const error = new Error('refused')
    const { target, calls, ended } = makeTarget(() => refuse(error))
    new Producer(target).start((async function * () {
      yield 1
    })())
    await within('the end', ended)
    await turn()
    t.strictSame(calls.filter(each => each !== 1), [{ failed: error }])
  })
}

t.test('L3: stop ends the source, once, and none of its events is appended afterwards', async t => {
  let returned = 0
  let give!: (step: IteratorResult<unknown>) => void
  const { target, calls } = makeTarget()
  const producer = new Producer(target)
  producer.start({
    [Symbol.asyncIterator]: () => ({
      next: () =>
        new Promise(resolve => {
          give = resolve
        }),
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
  t.strictSame(calls, [])
  t.equal(returned, 1)
})

t.test('a rejection of the log after the stop is ignored', async t => {
  for (const source of [[1, 2], (async function * () {
    yield * [1, 2]
  })()]) {
    const rejects: Array<(error: Error) => void> = []
    const { target, calls } = makeTarget(() =>
      new Promise((_resolve, reject) => {
        rejects.push(reject)
      })
    )
    const producer = new Producer(target)
    producer.start(source)
    await until(() => rejects.length > 0)
    producer.stop(new StreamClosedError('channel-ended'))
    for (const reject of rejects) reject(new Error('ended'))
    await turn()
    t.strictSame(calls.filter(each => typeof each === 'object'), [])
  }
})

t.test('an error of the source after the stop is reported separately', async t => {
  const error = new Error('late')
  let fail!: (error: Error) => void
  const { target, calls } = makeTarget()
  const producer = new Producer(target)
  producer.start({
    [Symbol.asyncIterator]: () => ({
      next: () =>
        new Promise((_resolve, reject) => {
          fail = reject
        })
    })
  })
  producer.stop(new StreamClosedError('channel-ended'))
  fail(error)
  await turn()
  t.strictSame(calls, [{ late: error }])
})

t.test('an append rejected because the channel has ended is no failure of the source: the target gets logEnded', async t => {
  const ended = new FST_SSE_CHANNEL_ENDED()
  const refusals: Array<[where: string, append: () => unknown]> = [['here', () => {
    throw ended
  }], ['elsewhere', async () => {
    throw ended
  }]]
  const sources: Array<[kind: string, source: () => unknown]> = [['a list', () => [1]], ['a generator',
    async function * () {
      try {
        yield 1
        await new Promise(() => {})
      } catch {
        t.fail('nothing is thrown at its yield')
      }
    }]]
  for (const [where, append] of refusals) {
    for (const [kind, source] of sources) {
      const { target, calls } = makeTarget(append)
      const producer = new Producer({
        ...target,
        logEnded: () => {
          calls.push('logEnded')
          producer.stop(new StreamClosedError('channel-ended'))
        }
      })
      producer.start(source())
      await until(() => calls.includes('logEnded'))
      await turn()
      t.strictSame(calls.filter(each => each !== 1), ['logEnded'], `${kind}, a log ${where}`)
    }
  }
})

t.test('only the code identifies the error of an ended channel', async t => {
  t.equal(isEndedError(new FST_SSE_CHANNEL_ENDED()), true)
  t.equal(isEndedError({ code: 'FST_SSE_CHANNEL_ENDED' }), true)
  for (const other of [undefined, null, new Error('The channel has ended'), 'FST_SSE_CHANNEL_ENDED', 1]) {
    t.equal(isEndedError(other), false)
  }
})

t.test('any rejection of a log fails the producer, and no promise stays pending', async t => {
  for (const [what, thrown] of oddities()) {
    t.equal(isEndedError(thrown), false, what)
    const { target, calls, ended } = makeTarget(() => Promise.reject(thrown))
    new Producer(target).start([1])
    await within(what, ended)
    t.ok((calls.at(-1) as { failed: unknown }).failed === thrown, what)
  }
})
