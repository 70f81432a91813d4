import t from 'tap'
import type { LogEntry } from '../../../lib/log/log.ts'
import { isBeyond, positionAfter, reachedBy, type KnownPosition } from '../../../lib/log/redis/known-position.ts'
import type { ScriptMessage } from '../../../lib/log/redis/script-reply.ts'

const KNOWN: KnownPosition = { epoch: 'abc', offset: 7, appendedAt: '70', secret: 's' }

/** A message with the entries of one append. */
function message (first: number, newest: number, appendedAt: string, before: string, epoch = 'abc'): ScriptMessage {
  const entries = Array.from({ length: newest - first + 1 }, (_, n): LogEntry =>
    ({ offset: first + n, event: 'message', data: '', json: false }))
  return { epoch, oldest: 1, newest, appendedAt, before, ended: false, entries }
}

t.test('a message after the known position moves it', async t => {
  t.strictSame(positionAfter(message(8, 9, '90', '70'), KNOWN), { epoch: 'abc', offset: 9, appendedAt: '90', secret: 's' })
})

t.test('an earlier message leaves the known position', async t => {
  for (const other of [message(5, 6, '60', '40'), message(6, 7, '70', '50'), message(8, 7, '70', '70')]) {
    t.equal(positionAfter(other, KNOWN), KNOWN)
    t.notOk(isBeyond(other, KNOWN))
  }
})

t.test('a message beyond the known position moves it: the position before is to be checked', async t => {
  for (const [first, newest] of [[9, 9], [10, 9]] as const) {
    const beyond = message(first, newest, '90', '80')
    t.ok(isBeyond(beyond, KNOWN))
    t.strictSame(positionAfter(beyond, KNOWN), { epoch: 'abc', offset: 9, appendedAt: '90', secret: 's' })
  }
  t.notOk(isBeyond(message(8, 9, '90', '70'), KNOWN))
})

t.test('a read that delivers more than the messages moves the known position', async t => {
  const reply = (newest: number, epoch = 'abc'): Parameters<typeof reachedBy>[0] =>
    ({ epoch, oldest: 1, newest, appendedAt: '80', secret: 's', ended: false, entries: [] })
  t.strictSame(reachedBy(reply(8), KNOWN), { epoch: 'abc', offset: 8, appendedAt: '80', secret: 's' })
  for (const other of [reply(7), reply(6), reply(8, 'abd')]) t.equal(reachedBy(other, KNOWN), KNOWN)
})

t.test('a message with another entry at the known position, or before its own, contradicts it', async t => {
  for (const other of [message(8, 9, '90', '71'), message(7, 7, '71', '60'), message(7, 8, '71', '60'),
    message(8, 7, '71', '71'), message(8, 9, '90', '70', 'abd')]) t.equal(positionAfter(other, KNOWN), undefined)
})
