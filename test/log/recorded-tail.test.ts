import t from 'tap'
import type { LogBatch } from '../../lib/log/log.ts'
import { RecordedTail } from '../../lib/log/recorded-tail.ts'

const batch = (...offsets: number[]): LogBatch => ({
  epoch: 'e',
  newest: offsets.at(-1) ?? 0,
  ended: false,
  entries: offsets.map(offset => ({ offset, event: 'message', data: '', json: false }))
})

t.test('all delivered batches and entries are recorded', async t => {
  const tail = new RecordedTail()
  t.same([tail.batches, tail.entries], [[], []])
  const { listener } = tail
  for (const each of [batch(1, 2), batch(), batch(3)]) listener(each)
  t.same(tail.batches, [batch(1, 2), batch(), batch(3)])
  t.same(tail.entries.map(({ offset }) => offset), [1, 2, 3])
})

t.test('a wait resolves at once for delivered entries, else with the batch that completes them', async t => {
  const tail = new RecordedTail()
  tail.listener(batch(1))
  await tail.waitFor('the first', () => tail.entries.length === 1)
  let resolved = false
  const waiting = tail.waitFor('three', () => tail.entries.length === 3).then(() => { resolved = true })
  tail.listener(batch(2))
  await new Promise(setImmediate)
  t.equal(resolved, false)
  tail.listener(batch(3))
  await waiting
  t.equal(resolved, true)
})

t.test('a wait without delivery rejects with its description', async t => {
  await t.rejects(new RecordedTail().waitFor('the last entry', () => false), {
    message: 'The tail did not deliver the last entry within 5 seconds'
  })
})
