import t from 'tap'
import { newHead, prepare, readEvents, readHead, type Reader } from '../../../lib/log/sqlite/rows.ts'
import * as sql from '../../../lib/log/sqlite/statements.ts'
import { openDatabase } from '../../setup/sqlite.ts'

const reader = (rows: Record<string, Record<string, unknown>>): Reader => ({ get: text => rows[text] })
const row = {
  id: 1,
  epoch: 'abc',
  oldest: 3,
  newest: 4,
  total: 40,
  at: 4,
  ended: 0,
  outcome: null,
  owner: null,
  holder: null,
  until: 0,
  age: null,
  used: 9
}

t.test('R4: a channel counts on from its last entry, or from its own count', t => {
  t.equal(readHead(reader({}), 'news'), undefined)
  t.match(readHead(reader({ [sql.FIND_CHANNEL]: row }), 'news'),
    { used: 9, head: { oldest: 5, newest: 4, total: 40, first: 5, ended: false, outcome: undefined } })
  const events = {
    [sql.FIND_CHANNEL]: { ...row, ended: 1, outcome: 'complete' },
    [sql.FIRST_EVENT]: { number: 2, before: 10, at: 2 },
    [sql.LAST_EVENT]: { number: 6, total: 60, at: 6 }
  }
  t.match(readHead(reader(events), 'news'),
    { head: { oldest: 3, first: 2, firstBefore: 10, newest: 6, total: 60, at: 6, ended: true, outcome: 'complete' } })
  t.match(readHead(reader({ ...events, [sql.LAST_EVENT]: { number: 3, total: 30, at: 3 } }), 'news'),
    { head: { newest: 4, total: 40, at: 4 } })
  t.end()
})

t.test('R4: a new log has no entries', t => {
  t.match(newHead(1, 'abc', 7), { id: 1, epoch: 'abc', oldest: 1, newest: 0, ended: false, until: 0 })
  const database = openDatabase(':memory:')
  t.match(prepare(database, 'SELECT 1 AS one').get(), { one: 1 })
  database.close()
  t.end()
})

t.test('R4: entries are read from one text', t => {
  const entries = '[[7,"message","{}",1,null],[8,"x","y",0,"abc"]]'
  t.strictSame(readEvents(reader({ [sql.READ_EVENTS]: { entries } }), 1, 7, 2), [
    { offset: 7, event: 'message', data: '{}', json: true },
    { offset: 8, event: 'x', data: 'y', json: false, fingerprint: 'abc' }
  ])
  t.end()
})
