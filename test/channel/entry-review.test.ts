import { Type } from '@sinclair/typebox'
import t from 'tap'
import { EntryReview } from '../../lib/channel/entry-review.ts'
import { compileContract, freeContract, type Contract } from '../../lib/contract/contract.ts'
import type { EventMap } from '../../lib/contract/event-types.ts'
import type { LogEntry } from '../../lib/log/log.ts'
import { loadTypeBoxes } from '../../lib/schema/packages.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'

await loadTypeBoxes()

const contractOf = (map: EventMap): Contract => compileContract(map, 'news', schemaCompiler({}))
const User = Type.Object({ name: Type.String() })
const OldUser = Type.Object({ name: Type.String(), email: Type.String() })

function make (contract: Contract) {
  const warnings: Array<{ event: string, channel: string, err: { code: string } }> = []
  const statistics = { omitted: 0 }
  const logger = { warn: (object: unknown) => { warnings.push(object as never) } }
  return { review: new EntryReview(contract, 'news', statistics, logger as never), statistics, warnings }
}

const old = contractOf({ user: OldUser, text: Type.String(), removed: Type.String(), error: Type.String() })
let offset = 0
const entry = (event: string, data: unknown, by: Contract = old): LogEntry => ({
  offset: ++offset,
  ...by.serialize({ event, data })
})

t.test('C5: an entry of the same schema stays as it is, for any other schemas in the map', async t => {
  const contract = contractOf({ user: Type.Object({ name: Type.String(), email: Type.String() }), more: Type.String() })
  const { review } = make(contract)
  const same = entry('user', { name: 'Ann', email: 'a@b' })
  t.equal(review.review(same, 'e'), same)
})

t.test('C5: an entry of another schema is validated and serialized by the schema of this process, once', async t => {
  const contract = contractOf({ user: User, text: Type.Union([Type.String(), Type.Number()]) })
  const { review, statistics } = make(contract)
  const stored = entry('user', { name: 'Ann', email: 'a@b' })
  const reviewed = review.review(stored, 'e')
  const { fingerprint } = contract.serialize({ event: 'user', data: { name: 'Ann' } })
  t.strictSame(reviewed, { offset: stored.offset, event: 'user', data: '{"name":"Ann"}', json: true, fingerprint })
  t.equal(review.review({ ...stored }, 'e'), reviewed, 'one object for all readers')
  t.not(review.review({ ...stored }, 'f'), reviewed, 'the same offset in another epoch is another event')
  t.match(review.review(entry('text', 'x'), 'e'), { data: '"x"', json: true }, 'text may have become JSON')
  t.equal(statistics.omitted, 0)
})

t.test('C5: an entry that does not match is omitted and counted, and logged once per kind', async t => {
  const { review, statistics, warnings } = make(
    contractOf({ user: Type.Object({ name: Type.String(), age: Type.Number() }), text: Type.String() })
  )
  const entries = [entry('user', { name: 'Ann', email: '' }), entry('removed', 'x'), entry('error', 'x'), {
    offset: 99,
    event: 'sse.reset',
    data: '{}',
    json: true
  }, { offset: 100, event: 'user', data: '{', json: true }, {
    offset: 101,
    event: 'user',
    data: '{',
    json: true,
    fingerprint: undefined
  },
  { offset: 102, event: 'removed', data: '' } as LogEntry]
  for (let n = 0; n < 2; n++) {
    for (const stored of entries) {
      t.strictSame(review.review(stored, 'e'), {
        offset: stored.offset,
        event: 'message',
        data: '',
        json: false,
        omitted: true
      })
    }
  }
  t.equal(statistics.omitted, entries.length)
  t.strictSame(warnings.map(({ event, channel, err }) => [event, channel, err.code]), [
    ['user', 'news', 'FST_SSE_DATA'],
    ['removed', 'news', 'FST_SSE_UNKNOWN_EVENT'],
    ['error', 'news', 'FST_SSE_UNKNOWN_EVENT'],
    ['sse.reset', 'news', 'FST_SSE_PUBLISH'],
    ['user', 'news', 'FST_SSE_SERIALIZE']
  ])
})

t.test('unknown names do not fill the log: at most a hundred kinds are logged', async t => {
  const { review, statistics, warnings } = make(contractOf({ text: Type.String() }))
  for (let n = 0; n < 300; n++) review.review({ offset: n + 1, event: `name ${n}`, data: '', json: false }, 'e')
  t.equal(statistics.omitted, 300)
  t.equal(warnings.length, 100)
})

t.test('C5: the error of an ended channel is sent by a map that does not declare it, and validated by one that does', async t => {
  const failure: LogEntry = { offset: 1, event: 'error', data: '{"status":500}', json: true, fingerprint: 'failure' }
  t.strictSame(make(contractOf({ text: Type.String() })).review.review(failure, 'e'), failure)
  t.match(make(contractOf({ error: Type.String() })).review.review(failure, 'e'), { omitted: true })
  t.strictSame(make(freeContract).review.review(failure, 'e'), { ...failure, fingerprint: 'free' })
  t.match(make(contractOf({ text: Type.String() })).review.review({ ...failure, event: 'other' }, 'e'), {
    omitted: true
  }, 'no other event is exempt')
})

t.test('C5: a channel of any events sends every valid event, with its text unchanged', async t => {
  const { review, statistics } = make(freeContract)
  const precise = { offset: 1, event: 'n', data: '12345678901234567890', json: true, fingerprint: 'other' }
  t.strictSame(review.review(precise, 'e'), { ...precise, fingerprint: 'free' })
  t.match(review.review({ offset: 2, event: '', data: 'a', json: false }, 'e'), { event: 'message', data: 'a' })
  for (const broken of [{ event: 'a\nb', data: '' }, { event: 'a\nb', data: '', fingerprint: 'free' }, {
    event: 'sse.gap',
    data: ''
  }, { event: 'a', data: '{', json: true }]) {
    t.match(review.review({ offset: ++offset, json: false, ...broken }, 'e'), { omitted: true })
  }
  t.equal(statistics.omitted, 4)
})

t.test('rewritten entries are cached for the next reader, up to a megabyte', async t => {
  const { review } = make(contractOf({ text: Type.Union([Type.String(), Type.Null()]) }))
  const entries = Array.from({ length: 12 },
    (_, n): LogEntry => ({ offset: n + 1, event: 'text', data: 'x'.repeat(100_000), json: false }))
  const [first, ...others] = entries.map(stored => review.review(stored, 'e'))
  t.ok(entries.slice(2).every((stored, index) => review.review(stored, 'e') === others[index + 1]))
  t.not(review.review(entries[0]!, 'e'), first)
})

t.test('a logger that throws blocks no event', async t => {
  const contract = contractOf({ text: Type.String() })
  const review = new EntryReview(contract, 'news', { omitted: 0 }, {
    warn: () => {
      throw new Error('serializer')
    }
  } as never)
  t.match(review.review(entry('removed', 'x'), 'e'), { omitted: true })
  t.match(review.review(entry('text', 'x'), 'e'), { data: 'x' })
})
