import t from 'tap'
import type { LogBatch } from '../../lib/log/log.ts'
import { RecordedTail } from '../../lib/log/recorded-tail.ts'

const batch = (...offsets: number[]): LogBatch => ({ epoch: 'e', newest: offsets.at(-1) ?? 0, ended: false, entries: offsets.map(offset => ({ offset, event: 'message', data: '', json: false })) })

t.test('all that was told is there, batch by batch and entry by entry', async t => {
  const told = new RecordedTail()
  t.same([told.batches, told.entries], [[], []])
  const { listener } = told
  for (const each of [batch(1, 2), batch(), batch(3)]) listener(each)
  t.same(told.batches, [batch(1, 2), batch(), batch(3)])
  t.same(told.entries.map(({ offset }) => offset), [1, 2, 3])
})

t.test('a wait is over at once for what was told before, and with the batch that brings the rest', async t => {
  const told = new RecordedTail()
  told.listener(batch(1))
  await told.waitFor('the first', () => told.entries.length === 1)
  let over = false
  const waiting = told.waitFor('three', () => told.entries.length === 3).then(() => { over = true })
  told.listener(batch(2))
  await new Promise(setImmediate)
  t.equal(over, false)
  told.listener(batch(3))
  await waiting
  t.equal(over, true)
})

t.test('what is never told fails with its name', async t => {
  await t.rejects(new RecordedTail().waitFor('the last entry', () => false), { message: 'The tail did not tell the last entry within 5 seconds' })
})
