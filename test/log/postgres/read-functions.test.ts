import t from 'tap'
import { postgresLog } from '../../../lib/postgres.ts'
import { PostgresServer } from '../../setup/postgres.ts'
import { absent, POSTGRES } from '../../setup/programs.ts'
import { HISTORY, numbered } from '../../setup/remote-log.ts'

t.setTimeout(300_000)

t.test('with PostgreSQL', { skip: absent(POSTGRES) }, async t => {
  const server = await PostgresServer.start(t)
  const pool = server.pool(t)
  const open = postgresLog(pool)
  const count = async (table: string): Promise<number> =>
    Number((await pool.query(`SELECT count(*) FROM sse.${table}`)).rows[0].count)
  const clean = async (): Promise<number> => (await pool.query('SELECT sse.clean()')).rows[0].clean

  t.test('a channel without use is deleted with all of its rows, and no other one', async t => {
    const [past, used] = [open('past', { ...HISTORY, maxAge: 1_000 }), open('used', HISTORY)]
    t.teardown(() => [past, used].forEach(log => log.close()))
    for (const log of [past, used]) {
      await log.appendOnce!(numbered(1), 'key')
      await log.hold!('node', { add: ['"a"'], remove: [] }, 60_000)
    }
    const { epoch } = await past.state()
    t.equal(await clean(), 0, 'it is kept for a while')
    await pool.query("UPDATE sse.channels SET expires_at = 1, clean_at = 1 WHERE name = 'past'")
    t.equal(await clean(), 1)
    for (const table of ['channels', 'keys', 'holders', 'members']) t.equal(await count(table), 1, table)
    t.equal(await count('events'), 2)
    t.equal(await open.locate!(epoch), undefined)
    t.not((await past.state()).epoch, epoch)
  })

  t.test('a large channel is deleted in steps', async t => {
    const log = open('large', { ...HISTORY, maxEvents: 100_000, maxBytes: 1e9, maxAge: 1_000 })
    await Promise.all(Array.from({ length: 10_500 }, async (_, n) => log.append(numbered(n))))
    log.close()
    await pool.query("UPDATE sse.channels SET expires_at = 1, clean_at = 1 WHERE name = 'large'")
    const before = await count('events')
    await clean()
    t.equal(await count('events'), before - 10_000)
    await clean()
    t.equal(await count('events'), before - 10_500)
    t.equal((await pool.query("SELECT FROM sse.channels WHERE name = 'large'")).rowCount, 0)
  })

  t.test('the cleaning deletes entries that are beyond the history or too old, and finds the time of the next one', async t => {
    const log = open('visited', { ...HISTORY, maxEvents: 10, maxAge: 60_000 })
    t.teardown(() => log.close())
    for (const n of Array.from({ length: 30 }, (_, n) => n)) await log.append(numbered(n))
    const stored = async () => Number((await pool.query(
      "SELECT count(*) FROM sse.events e JOIN sse.channels c ON c.id = e.channel WHERE c.name = 'visited'")).rows[0].count)
    t.equal(await stored(), 30, 'nodes may still read them')
    await pool.query(`UPDATE sse.events SET at = at - 10000000;
      UPDATE sse.channels SET clean_at = 1, oldest_at = oldest_at - 10000000 WHERE name = 'visited'`)
    await clean()
    t.equal(await stored(), 10)
    await pool.query(`UPDATE sse.events SET at = at - 60000000;
      UPDATE sse.channels SET clean_at = 1, oldest_at = oldest_at - 60000000 WHERE name = 'visited'`)
    await clean()
    t.equal(await stored(), 0)
    const { rows: [{ soon }] } = await pool.query(
      "SELECT clean_at > sse.microseconds() + 50000000 AS soon FROM sse.channels WHERE name = 'visited'")
    t.equal(soon, true)
    const { oldest, newest } = await log.state()
    t.strictSame([oldest, newest], [31, 30])
  })

  t.test('keys and answers of nodes expire', async t => {
    await pool.query('UPDATE sse.keys SET expires_at = 1; UPDATE sse.nodes SET used_at = 1')
    await clean()
    t.strictSame([await count('keys'), await count('nodes')], [0, 0])
  })

  t.test('a peek, and the release of no lease, create nothing', async t => {
    const log = open('peeked', HISTORY)
    t.teardown(() => log.close())
    t.equal(await log.peek!(), undefined)
    t.equal(await log.lease!('me', 0), true)
    t.strictSame(await log.members!(), [])
    t.equal(await open.locate!('none'), undefined)
    t.equal((await pool.query("SELECT FROM sse.channels WHERE name = 'peeked'")).rowCount, 0)
  })
})
