import t from 'tap'
import { convert, type Conversion } from '../../lib/protocols/convert.ts'
import { iterate } from '../../lib/source/source.ts'

const all = async (source: unknown): Promise<unknown[]> => {
  const events: unknown[] = []
  for await (const event of source as AsyncIterable<unknown>) events.push(event)
  return events
}

t.test('a chunk becomes any number of events, and each reading begins anew', async t => {
  let readings = 0
  const start = (): Conversion => {
    readings++
    return { chunk: value => Array.from({ length: Number(value) }, () => value), end: () => ['end'] }
  }
  const source = convert([0, 1, 0, 2], start)
  t.strictSame(await all(source), [1, 2, 2, 'end'])
  t.strictSame(await all(source), [1, 2, 2, 'end'])
  t.equal(readings, 2)
  const made = convert(async ({ signal }: { signal: string }) => [signal.length], start) as
    (context: object) => Promise<unknown>
  t.strictSame(await all(await made({ signal: 'ab' })), [2, 2, 'end'])
  t.strictSame(await all(convert([1], () => ({ chunk: value => [value] }))), [1])
})

t.test('a rejected event is thrown into a generator, which may continue', async t => {
  const failures: unknown[] = []
  const conversion: Conversion = {
    chunk: value => [value, value],
    failed: (error, rejected) => failures.push(error.message, rejected)
  }
  const caught: unknown[] = []
  const events = iterate(convert((async function * () {
    try {
      yield 'a'
    } catch (error) {
      caught.push(error)
    }
    yield 'b'
  }()), () => conversion))
  t.strictSame(await events.next(), { done: false, value: 'a' })
  t.strictSame(await events.throw!('invalid'), { done: false, value: 'b' }, 'the second event of the chunk is dropped')
  t.strictSame(caught, ['invalid'])
  t.strictSame(await events.next(), { done: false, value: 'b' })
  t.strictSame(await events.next(), { done: true, value: undefined })
  await t.rejects(Promise.resolve(events.throw!(new Error('late'))), { message: 'late' }, 'the source is over')
  t.strictSame(failures, ['late', true])
})

t.test('a rejected event ends a source that is no generator', async t => {
  let returned = 0
  const events = iterate(convert({
    [Symbol.asyncIterator]: () => ({
      next: async () => ({ done: false, value: 'a' }),
      return: async () => { returned++ }
    })
  }, () => ({ chunk: value => [value] })))
  await events.next()
  await t.rejects(Promise.resolve(events.throw!(new Error('invalid'))), { message: 'invalid' })
  await events.return!()
  t.equal(returned, 2)
  const empty = { [Symbol.iterator]: () => ({ next: () => ({ done: true }) }) }
  const bare = iterate(convert(empty, () => ({ chunk: () => [] })))
  await t.rejects(Promise.resolve(bare.throw!(new Error('invalid'))), { message: 'invalid' })
  t.equal(await bare.return!(), undefined)
})
