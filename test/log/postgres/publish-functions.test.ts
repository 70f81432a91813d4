import pg, { type PoolClient } from 'pg'
import t, { type Test } from 'tap'
import type { EventLog, LogRecord } from '../../../lib/log/log.ts'
import { RecordedTail } from '../../../lib/log/recorded-tail.ts'
import { postgresLog } from '../../../lib/postgres.ts'
import { PostgresServer } from '../../setup/postgres.ts'
import { absent, POSTGRES } from '../../setup/programs.ts'
import { HISTORY, numbered } from '../../setup/remote-log.ts'
import { within } from '../../setup/within.ts'

t.setTimeout(300_000)

const record = (data: string): LogRecord => ({ event: 'message', data, json: false })

t.test('with PostgreSQL', { skip: absent(POSTGRES) }, async t => {
  const server = await PostgresServer.start(t)
  const pool = server.pool(t)
  const users = server.pool(t, { max: 40 })
  let names = 0
  /** Opens a log of a new name, or of the given one, as another node does. */
  const open = (t: Test, name = `log ${++names}`): EventLog & { name: string } => {
    const log = postgresLog(pool)(name, HISTORY)
    t.teardown(() => log.close())
    return Object.assign(log, { name })
  }
  const dataOf = async (log: EventLog): Promise<string[]> => (await log.read(0, 1_000)).entries.map(({ data }) => data)
  /** Runs a transaction on a connection of its own. */
  const transaction = async (
    body: (client: PoolClient) => Promise<unknown>,
    { begin = 'BEGIN', end = 'COMMIT' } = {}
  ): Promise<void> => {
    const client = await users.connect()
    try {
      await client.query(begin)
      await body(client)
      await client.query(end)
    } finally {
      await client.query('ROLLBACK')
      client.release()
    }
  }
  await open(t).state()

  t.test('R14: an event of a transaction is delivered at its commit, once and in order, on every node', async t => {
    const [one, other] = [open(t), open(t, `log ${names}`)]
    const [tail, otherTail] = [new RecordedTail(), new RecordedTail()]
    one.tail(tail.listener)
    other.tail(otherTail.listener)
    await Promise.all([one.state(), other.state()])
    await one.append(record('before'))
    await transaction(async client => {
      await one.appendIn!(client, record('in 1'))
      await one.append(record('meanwhile'))
      await one.appendIn!(client, { event: 'näme', data: '{"a":"é\\u0000"}', json: true, fingerprint: 'aZ09-_' })
      t.strictSame(await dataOf(other), ['before', 'meanwhile'], 'nothing before the commit')
    })
    t.strictSame(await dataOf(other), ['before', 'meanwhile', 'in 1', '{"a":"é\\u0000"}'])
    await one.append(record('after'))
    for (const each of [tail, otherTail]) {
      await each.waitFor('all', () => each.entries.length >= 5)
      t.strictSame(each.entries.map(({ offset, data }) => `${offset} ${data}`),
        ['1 before', '2 meanwhile', '3 in 1', '4 {"a":"é\\u0000"}', '5 after'])
      t.match(each.entries[3], { event: 'näme', json: true, fingerprint: 'aZ09-_' })
    }
    t.equal((await pool.query('SELECT FROM sse.outbox')).rowCount, 0)
  })

  t.test('R14: a transaction that is rolled back, or a savepoint, publishes nothing', async t => {
    const log = open(t)
    await transaction(client => log.appendIn!(client, record('gone')), { end: 'ROLLBACK' })
    await transaction(async client => {
      await log.appendIn!(client, record('kept'))
      await client.query('SAVEPOINT a')
      await log.appendIn!(client, record('gone'))
      await client.query('ROLLBACK TO a')
      await log.appendIn!(client, record('also kept'))
      await client.query('SAVEPOINT b')
      await log.appendIn!(client, record('released'))
      await client.query('RELEASE b')
    })
    await t.rejects(transaction(async client => {
      await log.appendIn!(client, record('gone'))
      await client.query('SELECT 1 / 0')
    }), { code: '22012' })
    t.strictSame(await dataOf(log), ['kept', 'also kept', 'released'])
    t.equal((await log.state()).newest, 3)
  })

  t.test('without a transaction, the event is published at once', async t => {
    const log = open(t)
    const client = await pool.connect()
    try {
      await log.appendIn!(client, record('1'))
    } finally {
      client.release()
    }
    t.strictSame(await dataOf(log), ['1'])
  })

  t.test('a pool is refused, because it would not publish in the transaction', async t => {
    const log = open(t)
    for (const client of [pool, null, 'x', {}]) {
      await t.rejects(log.appendIn!(client, record('1')), {
        code: 'FST_SSE_OPTION',
        message: /^Option 'client' must be a connected client of pg, got /
      })
    }
    t.strictSame(await dataOf(log), [])
  })

  t.test('a client that is not connected keeps no call waiting', async t => {
    const log = postgresLog(pool, { timeout: 50 })('unconnected', HISTORY)
    t.teardown(() => log.close())
    await t.rejects(log.appendIn!(new pg.Client(), record('1')), { code: 'FST_SSE_LOG_UNAVAILABLE' })
  })

  t.test('an open transaction keeps no append waiting', async t => {
    const log = open(t)
    await transaction(async client => {
      await log.appendIn!(client, record('late'))
      await within('an append', Promise.resolve(log.append(record('early'))), 5_000)
    })
    t.strictSame(await dataOf(log), ['early', 'late'])
  })

  t.test('two transactions that publish to two channels in opposite order both commit', async t => {
    const logs = [open(t), open(t)] as const
    await within('all transactions', Promise.all(Array.from({ length: 40 }, async (_, n) => transaction(async client => {
      const [one, other] = n % 2 === 0 ? logs : logs.toReversed() as unknown as typeof logs
      await one.appendIn!(client, record(`${n} a`))
      await Promise.all([logs[0].append(record('x')), logs[1].append(record('x'))])
      await other.appendIn!(client, record(`${n} b`))
    }))))
    for (const log of logs) {
      const { newest } = await log.state()
      t.equal(newest, 80)
      const offsets = (await log.read(0, 1_000)).entries.map(({ offset }) => offset)
      t.strictSame(offsets, Array.from({ length: 80 }, (_, n) => n + 1))
    }
  })

  for (const isolation of ['REPEATABLE READ', 'SERIALIZABLE']) {
    t.test(`a transaction that is ${isolation} commits, although the channel has later events`, async t => {
      const log = open(t)
      const tail = new RecordedTail()
      log.tail(tail.listener)
      await log.append(record('before'))
      await transaction(async client => {
        await client.query('SELECT 1')
        await log.appendIn!(client, record('in 1'))
        await log.append(record('meanwhile'))
        await log.appendIn!(client, record('in 2'))
      }, { begin: `BEGIN ISOLATION LEVEL ${isolation}` })
      await log.append(record('after'))
      await tail.waitFor('all entries', () => tail.entries.length === 5)
      t.strictSame(await dataOf(log), ['before', 'meanwhile', 'in 1', 'in 2', 'after'])
      t.strictSame(tail.entries.map(({ offset }) => offset), [1, 2, 3, 4, 5])
    })

    t.test(`an event of a transaction that is ${isolation} is delivered without another call`, async t => {
      const log = open(t)
      const tail = new RecordedTail()
      log.tail(tail.listener)
      await log.state()
      await transaction(client => log.appendIn!(client, record('1')), { begin: `BEGIN ISOLATION LEVEL ${isolation}` })
      await tail.waitFor('the entry', () => tail.entries.length === 1)
    })
  }

  t.test('a key counts for events in and outside of transactions', async t => {
    const log = open(t)
    await transaction(async client => {
      await log.appendIn!(client, record('first'), 'key')
      await log.appendIn!(client, record('second'), 'key')
    })
    t.match(await log.appendOnce!(record('third'), 'key'), { offset: 1, appended: false })
    await Promise.all([1, 2].map(n => transaction(client => log.appendIn!(client, record(`${n}`), 'other'))))
    t.equal((await log.state()).newest, 2)
  })

  t.test('an ended channel rejects the event, and the transaction goes on', async t => {
    const log = open(t)
    await log.end()
    await transaction(client => t.rejects(log.appendIn!(client, record('1')), { code: 'FST_SSE_CHANNEL_ENDED' }))
    t.strictSame(await dataOf(log), [])
  })

  t.test('a channel that ends before the commit fails the commit', async t => {
    const log = open(t)
    await t.rejects(transaction(async client => {
      await log.appendIn!(client, record('1'))
      await log.end()
    }), { message: /^ENDED / })
    t.strictSame(await dataOf(log), [])
    const serial = open(t)
    await transaction(async client => {
      await serial.appendIn!(client, record('1'))
      await serial.end()
    }, { begin: 'BEGIN ISOLATION LEVEL SERIALIZABLE' })
    t.strictSame(await dataOf(serial), [], 'it has committed, and its event is dropped with a warning')
    t.match(server.log, 'the events of a transaction were dropped')
  })

  t.test('no client, and a broken transaction, are rejected', async t => {
    const log = open(t)
    for (const client of [undefined, {}, null, 'client']) {
      await t.rejects(log.appendIn!(client, record('1')), { code: 'FST_SSE_OPTION', message: /'client' must be a connected client of pg/ })
    }
    await transaction(async client => {
      await t.rejects(client.query('SELECT 1 / 0'))
      await t.rejects(log.appendIn!(client, record('1')), { code: 'FST_SSE_LOG_UNAVAILABLE', cause: { code: '25P02' } })
    })
  })

  t.test('a program without a node publishes with one function', async t => {
    const log = open(t)
    await transaction(client => client.query("SELECT sse.publish($1, 'moved', $2, key => 'k')", [log.name, '{"a": "é"}']))
    await pool.query("SELECT sse.publish($1, 'moved', '2', 'k')", [log.name])
    const { entries } = await log.read(0, 10)
    t.strictSame(entries, [{ offset: 1, event: 'moved', data: '{"a": "é"}', json: true }])
    for (const [channel, event, data] of [['', 'a', '1'], ['a\n', 'a', '1'], ['a', '', '1'], ['a', 'a\n', '1'], ['a', 'a', '{']]) {
      await t.rejects(pool.query('SELECT sse.publish($1, $2, $3)', [channel, event, data]))
    }
    await log.end()
    await t.rejects(pool.query("SELECT sse.publish($1, 'moved', '1')", [log.name]), { message: /has ended/ })
  })

  t.test('an answer can be requested again, and appends nothing', async t => {
    const node = postgresLog(pool)
    const log = node('again', HISTORY)
    t.teardown(() => log.close())
    await Promise.all([1, 2].map(async n => log.append(numbered(n))))
    const { rows: [{ node: name, number, answer }] } =
      await pool.query('SELECT * FROM sse.nodes ORDER BY used_at DESC LIMIT 1')
    const nulls = Array.from({ length: 24 }, () => null)
    const again = await pool.query(`SELECT sse.append($1, $2, ${nulls.map((_, n) => `$${n + 3}`)}) AS answer`,
      [name, number, ...nulls])
    t.equal(again.rows[0].answer, answer)
    t.equal((await log.state()).newest, 2)
  })
})
