import t from 'tap'
import { TABLES, VERSION } from '../../../lib/log/postgres/tables.ts'

t.test('the layout has its version, and every table is in its schema', async t => {
  t.equal(VERSION, 1)
  t.match(TABLES, `INSERT INTO @.layout VALUES (${VERSION})`)
  t.strictSame([...TABLES.matchAll(/CREATE (?:TABLE|INDEX \w+ ON) (?!@\.)\S+/g)].map(([text]) => text), [])
})
