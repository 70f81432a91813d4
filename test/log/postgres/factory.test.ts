import pg from 'pg'
import t from 'tap'
import { checkEventLog } from '../../../lib/log/check-event-log.ts'
import type { PostgresPool } from '../../../lib/log/postgres/client.ts'
import { postgresLog } from '../../../lib/log/postgres/factory.ts'
import { PostgresServer } from '../../setup/postgres.ts'
import { absent, POSTGRES } from '../../setup/programs.ts'
import { freePort } from '../../setup/redis.ts'
import { HISTORY, numbered } from '../../setup/remote-log.ts'
import { until } from '../../setup/until.ts'

t.setTimeout(300_000)

t.test('an invalid pool or option throws at the call', async t => {
  for (const pool of [undefined, {}, 'postgres://127.0.0.1', { query: () => {} }, new pg.Client()]) {
    t.throws(() => postgresLog(pool as never), {
      code: 'FST_SSE_OPTION',
      message: /^Option 'pool' must be a Pool of pg, got /
    })
  }
  const pool = { query: () => {}, connect: () => {}, options: { max: 2 } } as unknown as PostgresPool
  for (const [option, values] of Object.entries({
    schema: [1, '', 'A', 'a-b', '1a', 'pg_sse', 'a'.repeat(64), 'a"'],
    timeout: ['1', 0, NaN, 2 ** 31],
    listener: [{}, 'postgres://127.0.0.1'],
    pollInterval: [0, 9, 4_001, '100']
  })) {
    for (const value of values) {
      const message = new RegExp(`^Option '${option}' must be `)
      t.throws(() => postgresLog(pool, { [option]: value }), { code: 'FST_SSE_OPTION', message })
    }
  }
  t.throws(() => postgresLog(pool, { prefix: 'a' } as never), { code: 'FST_SSE_OPTION' })
  postgresLog(pool, { schema: '_a1', timeout: 1, pollInterval: 10 })
  const single = { ...pool, options: { max: 1 } }
  t.throws(() => postgresLog(single), { code: 'FST_SSE_OPTION', message: /at least two connections/ })
  postgresLog(single, { listener: () => new pg.Client() })
})

t.test('an absent PostgreSQL keeps no call pending forever', async t => {
  const pool = new pg.Pool({ host: '127.0.0.1', port: await freePort() })
  t.teardown(() => pool.end())
  const open = postgresLog(pool, { timeout: 50 })
  const log = open('away', HISTORY)
  t.teardown(() => log.close())
  log.tail(() => {})()
  for (const call of [() => log.append(numbered(1)), () => log.end(), () => log.peek!(), () => log.lease!('me', 1), () => open.locate!('a')]) {
    await t.rejects(async () => call(), { code: 'FST_SSE_LOG_UNAVAILABLE', message: /did not answer within 50 milliseconds/ })
  }
})

t.test('with PostgreSQL', { skip: absent(POSTGRES) }, async t => {
  const server = await PostgresServer.start(t)

  t.test('it passes the contract of a log', async t => {
    const pool = server.pool(t)
    await checkEventLog(t, () => postgresLog(pool), { shared: true })
  })

  t.test('a log with listeners is checked regularly, and any node deletes what has expired', async t => {
    const pool = server.pool(t)
    const log = postgresLog(pool)('looked at', HISTORY)
    t.teardown(() => log.close())
    const found = new Promise<number>(resolve => log.tail(({ newest }) => resolve(newest)))
    await log.state()
    await pool.query("UPDATE sse.channels SET newest = 5, clean_at = 1, expires_at = NULL WHERE name = 'looked at'")
    const past = postgresLog(pool)('past', HISTORY)
    await past.state()
    past.close()
    await pool.query("UPDATE sse.channels SET clean_at = 1, expires_at = 1 WHERE name = 'past'")
    const { now } = performance
    await pool.query('ALTER FUNCTION sse.clean RENAME TO hidden')
    t.intercept(performance, 'now', { value: () => now.call(performance) + 200_000 })
    t.equal(await found, 5)
    const failures = async (): Promise<number> => server.log.split('function sse.clean() does not exist').length - 1
    await until('the failure', async () => await failures() > 3)
    await pool.query('ALTER FUNCTION sse.hidden RENAME TO clean')
    t.intercept(performance, 'now', { value: () => now.call(performance) + 400_000 })
    await until('the past channel is gone', async () =>
      (await pool.query("SELECT FROM sse.channels WHERE name = 'past'")).rowCount === 0)
  })

  t.test('the rejection of a call to locate has its cause', async t => {
    await server.pool(t).query('CREATE ROLE stranger LOGIN')
    await t.rejects(async () => postgresLog(server.pool(t, { user: 'stranger' })).locate!('a'), {
      code: 'FST_SSE_LOG_UNAVAILABLE',
      message: /cannot be used/,
      cause: { code: '42501' }
    })
  })
})
