import { join } from 'node:path'
import t from 'tap'
import { prepareFile } from '../../../lib/log/sqlite/schema.ts'
import * as statements from '../../../lib/log/sqlite/statements.ts'
import { DRIVERS } from '../../setup/sqlite.ts'

/** The plan of a statement, one line per step. */
interface Plan { all: (...values: string[]) => Array<{ detail: string }> }

for (const [driver, connect] of Object.entries(DRIVERS)) {
  t.test(`R4: each statement of ${driver} uses an index`, t => {
    const database = connect(join(t.testdir(), 'events.db'))
    t.teardown(() => database.close())
    prepareFile(database, 'events.db', 'normal')
    const texts = Object.values(statements).flatMap(value => typeof value === 'function' ? value(2) : value)
      .filter(value => typeof value === 'string')
    t.ok(texts.length > 20)
    for (const text of texts) {
      const plan = database.prepare(`EXPLAIN QUERY PLAN ${text}`) as unknown as Plan
      const parameters = Array<string>(text.split('?').length - 1).fill('')
      const steps = plan.all(...parameters).map(({ detail }) => detail)
      t.strictSame(steps.filter(step => /SCAN (channels|events|keys|holders|held)|TEMP B-TREE/.test(step)), [], text)
    }
    t.end()
  })
}
