import t from 'tap'
import { channelArguments, decodeReplies, fingerprintOf, storedLimits } from '../../../lib/log/postgres/channel-state.ts'

t.test('limits and arguments of channels', async t => {
  const limits = storedLimits({ maxEvents: 1, maxBytes: 2, maxAge: 0.5 })
  t.strictSame(limits, { events: 1, bytes: 2, age: 500 })
  t.equal(storedLimits({ maxEvents: 1, maxBytes: 2, maxAge: Infinity }).age, null)
  const known = { epoch: 'a', offset: 3, at: 4 }
  t.strictSame(channelArguments([{ name: 'x', known, limits }, { name: 'y', known, limits }]),
    [['x', 'y'], ['a', 'a'], [3, 3], [4, 4], [1, 1], [2, 2], [500, 500]])
})

t.test('a reply has the entries of its channel, as they were appended', async t => {
  const head = ['1', null, 'a', '1', '3', '99', 't', '-5', null, null, null, null, null]
  const entry = (...rest: Array<string | null>): Array<string | null> =>
    ['1', rest[0]!, null, null, null, null, null, null, ...rest.slice(1)]
  t.strictSame(decodeReplies([
    head,
    entry('1', 'x', 't', null, '{}', null),
    entry('2', 'y', 'f', 'fp', null, Buffer.from('é\0').toString('base64')),
    ['2', ...head.slice(1, 6), 'f', '6', null, null, null, null, null]
  ]), [
    {
      epoch: 'a',
      oldest: 1,
      newest: 3,
      at: 99,
      ended: true,
      nameHash: '-5',
      entries: [
        { offset: 1, event: 'x', data: '{}', json: true },
        { offset: 2, event: 'y', data: 'é\0', json: false, fingerprint: 'fp' }
      ]
    },
    { epoch: 'a', oldest: 1, newest: 3, at: 99, ended: false, nameHash: '6', entries: [] }
  ])
})

t.test('other text is no fingerprint', async t => {
  t.equal(fingerprintOf({ fingerprint: 'aZ09-_' }), 'aZ09-_')
  for (const fingerprint of [undefined, '', 'a b', 'x'.repeat(65)]) t.equal(fingerprintOf({ fingerprint }), null)
})
