import t from 'tap'
import { RecordedTail } from '../../../lib/log/recorded-tail.ts'
import { postgresLog } from '../../../lib/postgres.ts'
import { PostgresServer } from '../../setup/postgres.ts'
import { absent, POSTGRES } from '../../setup/programs.ts'
import { HISTORY, numbered } from '../../setup/remote-log.ts'

t.setTimeout(300_000)

const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1)

t.test('with PostgreSQL', { skip: absent(POSTGRES) }, async t => {
  const server = await PostgresServer.start(t)
  const pool = server.pool(t)
  const open = postgresLog(pool)
  const other = postgresLog(server.pool(t))

  t.test('events of many channels in one turn are one statement, on two nodes at once without deadlock', async t => {
    const names = upTo(60).map(n => `many ${n}`)
    const logs = [open, other].map((open, node) =>
      (node === 0 ? names : names.toReversed()).map(name => open(name, HISTORY)))
    t.teardown(() => { for (const log of logs.flat()) log.close() })
    const numbers = 'SELECT number FROM sse.nodes'
    for (let round = 0; round < 5; round++) {
      await Promise.all(logs.flat().map(async log => log.append(numbered(round))))
    }
    t.strictSame((await pool.query(numbers)).rows, [{ number: '5' }, { number: '5' }])
    for (const log of logs[0]!) t.equal((await log.state()).newest, 10)
  })

  t.test('entries beyond the history are delivered to other nodes, and deleted later', async t => {
    const history = { ...HISTORY, maxEvents: 1 }
    const [log, listener] = [open('short', history), other('short', history)]
    t.teardown(() => { for (const each of [log, listener]) each.close() })
    const tail = new RecordedTail()
    listener.tail(tail.listener)
    await listener.state()
    await Promise.all(upTo(1_500).map(async n => log.append(numbered(n))))
    await tail.waitFor('all', () => tail.entries.length >= 1_500)
    t.strictSame(tail.entries.map(({ offset }) => offset), upTo(1_500))
    t.strictSame((await log.read(0, 100)).entries.map(({ offset }) => offset), [1_500])
    const stored = async (): Promise<unknown[]> => (await pool.query(
      "SELECT e.\"offset\" FROM sse.events e JOIN sse.channels c ON c.id = e.channel WHERE c.name = 'short'")).rows
    t.equal((await stored()).length, 1_500)
    await pool.query('UPDATE sse.events SET at = at - 10000000; UPDATE sse.channels SET purged_at = 0')
    // A node that knows the times of the entries would begin another epoch.
    const later = postgresLog(pool)('short', history)
    await later.append(numbered(1_501))
    later.close()
    t.strictSame(await stored(), [{ offset: '1501' }])
  })

  t.test('a long series of events through a short history leaves tables and indexes small', async t => {
    const log = open('long', HISTORY)
    t.teardown(() => log.close())
    const data = 'x'.repeat(200)
    for (let round = 0; round < 20; round++) {
      await Promise.all(upTo(2_000).map(async () => log.append({ event: 'message', data, json: false })))
    }
    const { rows: [{ stored, size }] } = await pool.query(`
      SELECT count(*)::int AS stored, pg_total_relation_size('sse.events')::int AS size FROM sse.events e
      JOIN sse.channels c ON c.id = e.channel WHERE c.name = 'long'`)
    t.ok(stored <= 14_000, `${stored} events are stored`)
    t.ok(size < 16_000_000, `${size} bytes`)
    const { rows: [{ hot, updates }] } = await pool.query(`
      SELECT n_tup_hot_upd::int AS hot, n_tup_upd::int AS updates FROM pg_stat_user_tables
      WHERE schemaname = 'sse' AND relname = 'channels'`)
    t.ok(hot >= updates * 0.8, `${hot} of ${updates} updates touch no index`)
  })
})
