import t from 'tap'
import type { SealedBatch } from '../../../lib/log/postgres/entry-seal.ts'
import { KnownPositions } from '../../../lib/log/postgres/known-positions.ts'

/** The entry of an append, in a notification. */
const batch = (offset: number, at: number, before: number, epoch = 'abc'): SealedBatch =>
  ({ epoch, newest: offset, at, before, ended: false, entries: [{ offset, event: 'message', data: '', json: false }] })
const answer = (newest: number, at: number, epoch = 'abc'): { epoch: string, newest: number, at: number } =>
  ({ epoch, newest, at })
/** Knows the entry 7, whose time is 70. */
function make (): KnownPositions {
  const positions = new KnownPositions()
  positions.answer(answer(7, 70), positions.current)
  return positions
}
const SEVEN = { epoch: 'abc', offset: 7, at: 70 }

t.test('the answer to a call that had the known position moves it', async t => {
  const positions = make()
  t.strictSame(positions.current, SEVEN)
  const asked = positions.current
  positions.answer(answer(7, 70), asked)
  t.equal(positions.current, asked, 'the same answer')
  positions.answer(answer(1, 10, 'abd'), asked)
  t.strictSame(positions.current, { epoch: 'abd', offset: 1, at: 10 })
  t.notOk(positions.isDue)
})

t.test('the answer to a call that had an earlier position must be checked, unless it is the same', async t => {
  const positions = make()
  const asked = positions.current
  t.ok(positions.follow(batch(8, 80, 70)))
  positions.answer(answer(8, 80), asked)
  t.notOk(positions.isDue)
  positions.answer(answer(9, 90), asked)
  t.ok(positions.isDue)
  t.strictSame(positions.current, { epoch: 'abc', offset: 8, at: 80 })
})

t.test('R1: the known position is never behind a read that the tail delivers', async t => {
  const positions = make()
  const asked = positions.take()
  t.ok(positions.follow(batch(8, 80, 70)))
  positions.answer(answer(9, 90), asked, true)
  t.strictSame(positions.current, { epoch: 'abc', offset: 9, at: 90 })
  t.ok(positions.isDue)
  t.strictSame(positions.take(), { epoch: 'abc', offset: 8, at: 80 }, 'the next read checks the one before')
  t.equal(positions.take(), positions.current)
  positions.answer(answer(3, 30, 'abd'), asked, true)
  t.strictSame(positions.current, { epoch: 'abc', offset: 9, at: 90 }, 'of another epoch')
})

t.test('R1: a notification beyond the known position moves it, and the next read checks the one before', async t => {
  const positions = make()
  t.ok(positions.follow(batch(9, 90, 80)))
  t.ok(positions.follow(batch(11, 110, 100)))
  t.strictSame(positions.current, { epoch: 'abc', offset: 11, at: 110 })
  t.ok(positions.isDue)
  const asked = positions.take()
  t.strictSame(asked, SEVEN)
  positions.restore(asked)
  t.strictSame(positions.take(), SEVEN, 'also after a read that failed')
  t.ok(positions.isDue)
  t.strictSame(positions.take(), { epoch: 'abc', offset: 9, at: 90 }, 'and each one between two gaps')
  t.notOk(positions.isDue)
  positions.restore(positions.current)
  t.equal(positions.take(), positions.current)
})

t.test('a bounded number of positions waits for a check: further gaps are read', async t => {
  const positions = make()
  for (let offset = 9; offset < 9 + 2 * 64; offset += 2) t.ok(positions.follow(batch(offset, offset * 10, 1)))
  const { current } = positions
  t.notOk(positions.follow(batch(current.offset + 2, 1, 1)))
  t.equal(positions.current, current)
  t.ok(positions.follow(batch(current.offset + 1, current.at + 10, current.at)), 'but what follows is taken')
})

t.test('a notification that contradicts the known position does not move it', async t => {
  const positions = make()
  t.notOk(positions.follow(batch(8, 80, 71)))
  t.notOk(positions.follow(batch(7, 71, 60)))
  t.ok(positions.follow(batch(7, 70, 60)))
  t.ok(positions.follow(batch(6, 60, 50)))
  t.ok(positions.follow(batch(9, 90, 80, 'abd')))
  t.strictSame(positions.current, SEVEN)
})
