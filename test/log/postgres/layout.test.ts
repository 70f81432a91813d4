import t, { type Test } from 'tap'
import { createLayout, layoutOf } from '../../../lib/log/postgres/layout.ts'
import { VERSION } from '../../../lib/log/postgres/tables.ts'
import { postgresLog } from '../../../lib/postgres.ts'
import { PostgresServer } from '../../setup/postgres.ts'
import { absent, POSTGRES } from '../../setup/programs.ts'
import { HISTORY, numbered } from '../../setup/remote-log.ts'

t.setTimeout(300_000)

t.test('with PostgreSQL', { skip: absent(POSTGRES) }, async t => {
  const server = await PostgresServer.start(t)
  const pool = server.pool(t)
  const log = (t: Test, schema: string) => {
    const log = postgresLog(pool, { schema })('name', HISTORY)
    t.teardown(() => log.close())
    return log
  }

  t.test('many nodes at once create one layout, with its version', async t => {
    await Promise.all(Array.from({ length: 8 }, async () => createLayout(server.pool(t, { max: 1 }), 'fresh')))
    t.strictSame((await pool.query('SELECT version FROM fresh.layout')).rows, [{ version: VERSION }])
    t.notMatch(layoutOf('fresh'), '@')
  })

  t.test('two schemas are separate', async t => {
    const [one, other] = [log(t, 'one'), log(t, 'other')]
    await one.append(numbered(1))
    t.equal((await other.state()).newest, 0)
  })

  t.test('an existing schema needs no right to create one', async t => {
    await pool.query('CREATE ROLE owner LOGIN; CREATE SCHEMA given AUTHORIZATION owner')
    await createLayout(server.pool(t, { user: 'owner' }), 'given')
    await t.rejects(createLayout(server.pool(t, { user: 'owner' }), 'another'), { code: '42501' })
  })

  t.test('R10: a schema with other tables, or a newer version, is not changed', async t => {
    await pool.query(`
      CREATE SCHEMA a; CREATE TABLE a.events (mine int);
      CREATE SCHEMA b; CREATE TABLE b.layout (mine int);
      CREATE SCHEMA c; CREATE TABLE c.layout (version int);
      CREATE SCHEMA d; CREATE TABLE d.layout (version int); INSERT INTO d.layout VALUES (${VERSION + 1})`)
    const tables = `SELECT table_schema, table_name FROM information_schema.tables
      WHERE table_schema IN ('a', 'b', 'c', 'd')`
    const before = await pool.query(tables)
    for (const schema of ['a', 'b', 'c', 'd']) {
      const foreign = log(t, schema)
      const message = schema === 'd' ? /newer version/ : /holds other data/
      const calls = [() => foreign.append(numbered(1)), () => foreign.state(), () => foreign.end()]
      for (const call of calls) {
        await t.rejects(async () => call(), { code: 'FST_SSE_LOG_FOREIGN', statusCode: 500, message }, schema)
      }
    }
    t.strictSame((await pool.query(tables)).rows, before.rows)
  })

  t.test('a database that has lost everything is used again, in another epoch', async t => {
    const lost = log(t, 'lost')
    const { epoch } = await lost.append(numbered(1))
    await pool.query('DROP SCHEMA lost CASCADE')
    const position = await lost.append(numbered(2))
    t.not(position.epoch, epoch)
    t.equal(position.offset, 1)
  })
})
