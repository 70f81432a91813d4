import { AsyncLocalStorage } from 'node:async_hooks'
import { setTimeout as pause } from 'node:timers/promises'
import type { Pool, PoolConfig } from 'pg'
import t, { type Test } from 'tap'
import type { HistoryLimits } from '../../../lib/log/log.ts'
import type { ChannelArguments, ChannelReply } from '../../../lib/log/postgres/channel-state.ts'
import type { PostgresContext } from '../../../lib/log/postgres/context.ts'
import { PostgresLog } from '../../../lib/log/postgres/postgres-log.ts'
import { RecordedTail } from '../../../lib/log/recorded-tail.ts'
import { postgresLog } from '../../../lib/postgres.ts'
import { compareWithMemory } from '../../setup/log-model.ts'
import { PostgresServer } from '../../setup/postgres.ts'
import { absent, POSTGRES } from '../../setup/programs.ts'
import { Relay } from '../../setup/relay.ts'
import { HISTORY, numbered } from '../../setup/remote-log.ts'
import { until } from '../../setup/until.ts'
import { within } from '../../setup/within.ts'

t.setTimeout(300_000)

const offsets = (tail: RecordedTail): number[] => tail.entries.map(({ offset }) => offset)
const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1)

t.test('with PostgreSQL', { skip: absent(POSTGRES) }, async t => {
  const server = await PostgresServer.start(t)
  const admin = server.pool(t)
  let names = 0
  /** Opens a log of a new name, or of the last one, as another node does. */
  const open = (
    t: Test,
    { name = `log ${++names}`, pool = admin, timeout = 5_000, history = {} }: {
      name?: string
      pool?: Pool
      timeout?: number
      history?: Partial<HistoryLimits>
    } = {}
  ): PostgresLog => {
    const log = postgresLog(pool, { timeout })(name, { ...HISTORY, ...history }) as PostgresLog
    t.teardown(() => log.close())
    return log
  }

  t.test('every answer equals that of a log in memory', async t => {
    await compareWithMemory(t, postgresLog(admin), { seeds: 8 })
  })

  t.test('R1: names with any characters are separate', async t => {
    const names = ['a', 'A', 'a ', '%', "'", '"', '\\', '{}', 'ä', '日本', '😀', 'x'.repeat(511)]
    const logs = names.map(name => open(t, { name }))
    for (const [index, log] of logs.entries()) await log.append(numbered(index))
    for (const [index, log] of logs.entries()) {
      t.strictSame((await log.read(0, 10)).entries.map(({ data }) => data), [String(index)], names[index]!)
    }
  })

  t.test('an append right after the call of tail() is delivered, from this node and from another one', async t => {
    for (let n = 0; n < 20; n++) {
      const log = open(t)
      const other = open(t, { name: log.name })
      const tail = new RecordedTail()
      log.tail(tail.listener)
      await Promise.all([1, 2, 3].map(async n => log.append(numbered(n))))
      await other.append(numbered(4))
      await tail.waitFor('all four', () => tail.entries.length === 4)
      t.strictSame(offsets(tail), [1, 2, 3, 4])
      log.close()
    }
  })

  /** Appends 1,000 records over two nodes while a fault happens again and again. */
  const checkFault = async (t: Test, config: PoolConfig, fault: () => unknown, interval: number): Promise<void> => {
    const log = open(t, { pool: server.pool(t, config), timeout: 20_000 })
    const other = open(t, { name: log.name, pool: server.pool(t, config), timeout: 20_000 })
    const [tail, otherTail] = [new RecordedTail(), new RecordedTail()]
    log.tail(tail.listener)
    other.tail(otherTail.listener)
    await Promise.all([log.state(), other.state()])
    const state = { faulty: true }
    const faults = (async () => {
      while (state.faulty) {
        await fault()
        await pause(interval)
      }
    })()
    const positions = await within('all appends', Promise.all(upTo(40).map(async n => {
      await pause(n * 10)
      return (await Promise.all(upTo(25).map(async m => (n % 2 === 0 ? log : other).append(numbered(n * 1_000 + m)))))
        .map(({ offset }) => offset)
    })))
    state.faulty = false
    await faults
    t.strictSame(positions.flat().sort((a, b) => a - b), upTo(1_000), 'each append was done once')
    for (const each of [tail, otherTail]) {
      await within('all entries', each.waitFor('all entries', () => each.entries.at(-1)?.offset === 1_000))
      t.strictSame(offsets(each), upTo(1_000))
      t.equal(new Set(each.entries.map(({ data }) => data)).size, 1_000)
    }
  }

  t.test('R8: for any loss of connections, every append is delivered once and in order', async t => {
    const relay = await Relay.start(t, () => [server.port])
    await checkFault(t, { port: relay.port }, () => relay.cut(), 100)
  })

  t.test('R8: for any termination of its processes, every append is delivered once and in order', async t => {
    const terminate = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE pid <> pg_backend_pid() AND application_name = 'victim' ORDER BY random() LIMIT 1`
    await checkFault(t, { application_name: 'victim' }, () => admin.query(terminate), 40)
  })

  t.test('R8: a crash with its data loses and doubles nothing', async t => {
    let crashes = 0
    await checkFault(t, {}, async () => {
      if (crashes++ === 1) await server.kill().then(() => server.start())
    }, 100)
    t.ok(crashes > 1)
  })

  t.test('a frozen server rejects an append in time, and delivers it later', async t => {
    const pool = server.pool(t)
    // The first calls of a connection plan their statements.
    await Promise.all([1, 2].map(async () => open(t, { pool }).append(numbered(1))))
    const log = open(t, { pool, timeout: 300 })
    const tail = new RecordedTail()
    log.tail(tail.listener)
    await log.append(numbered(1))
    server.signal('SIGSTOP')
    t.teardown(() => server.signal('SIGCONT'))
    await t.rejects(log.append(numbered(2)), { code: 'FST_SSE_LOG_UNAVAILABLE', statusCode: 503, message: /did not answer within 300/ })
    await t.rejects(log.peek(), { code: 'FST_SSE_LOG_UNAVAILABLE' })
    server.signal('SIGCONT')
    await log.append(numbered(3))
    await tail.waitFor('the later entry', () => tail.entries.at(-1)?.data === '3')
    t.strictSame(offsets(tail), upTo(tail.entries.length))
  })

  t.test('R8: an answer to a call with an older position does not replace the known one', async t => {
    const log = open(t)
    await log.append(numbered(1))
    const { known } = log
    log.onAppended({ epoch: known.epoch, newest: 9, at: 9, before: 8, ended: false, known: { ...known } }, [])
    t.equal(log.known, known, 'the database has not checked it')
    log.onAppended({ epoch: known.epoch, newest: 9, at: 9, before: 8, ended: false, known }, [])
    t.equal(log.known.offset, 9)
  })

  t.test('R8: a new epoch is delivered by the next check', async t => {
    const log = open(t)
    const tail = new RecordedTail()
    log.tail(tail.listener)
    await log.append(numbered(1))
    await tail.waitFor('the entry', () => tail.entries.length === 1)
    await admin.query('DELETE FROM sse.channels WHERE name = $1', [log.name])
    log.check()
    const epoch = (): string | undefined => tail.batches.at(-1)?.epoch
    const [first] = tail.batches
    await tail.waitFor('the new epoch', () => epoch() !== first!.epoch)
    const position = await open(t, { name: log.name }).append(numbered(2))
    t.strictSame(position, { epoch: epoch(), offset: 1 })
    await tail.waitFor('the entry of the new epoch', () => tail.entries.length === 2)
  })

  for (const [title, change] of Object.entries({
    'is behind': 'newest = 1',
    'has another newest entry': 'appended_at = 7'
  })) {
    t.test(`R1: offsets are not assigned twice in one epoch by a database that ${title}`, async t => {
      const log = open(t)
      const tail = new RecordedTail()
      log.tail(tail.listener)
      await log.append(numbered(1))
      const { epoch } = await log.append(numbered(2))
      await tail.waitFor('both entries', () => tail.entries.length === 2)
      await admin.query(`UPDATE sse.channels SET ${change} WHERE name = $1`, [log.name])
      const position = await log.append(numbered(3))
      t.not(position.epoch, epoch)
      t.equal(position.offset, 1)
      t.equal(await log.lease('me', 1_000), true)
      await tail.waitFor('the new epoch', () => tail.batches.at(-1)?.epoch === position.epoch)
    })
  }

  /** Waits for a connection that listens, and for the check that follows. */
  const listens = async (schema: string): Promise<void> => {
    const listening = 'SELECT FROM pg_stat_activity WHERE query = $1'
    await until('listening', async () => (await admin.query(listening, [`LISTEN "${schema}"`])).rows.length > 0)
    await pause(200)
  }
  /** Returns a log with a tail at three entries, and the end of its epoch, in tables that have lost the third one. */
  const behind = async (t: Test) => {
    const log = open(t)
    const tail = new RecordedTail()
    log.tail(tail.listener)
    for (const n of [1, 2, 3]) await log.append(numbered(n))
    await tail.waitFor('all entries', () => tail.entries.length === 3)
    const { epoch, at } = log.known
    await listens('sse')
    await admin.query(`UPDATE sse.channels c SET newest = 2, total = l.before, appended_at = e.at
      FROM sse.events e, sse.events l WHERE c.name = $1 AND e.channel = c.id AND e."offset" = 2 AND l.channel = c.id AND l."offset" = 3`, [log.name])
    await admin.query(`DELETE FROM sse.events e USING sse.channels c WHERE c.name = $1 AND e.channel = c.id
      AND e."offset" = 3`, [log.name])
    const end = (): Promise<void> => tail.waitFor('another epoch', () => tail.batches.at(-1)?.epoch !== epoch)
    return { log, tail, at, other: open(t, { name: log.name }), end }
  }

  t.test('R1: another entry under a known offset is found by its notification', async t => {
    const { other, tail, end } = await behind(t)
    // Before its first answer, a node has no secret to encrypt entries with.
    await other.state()
    await other.append(numbered(4))
    await end()
    t.strictSame(tail.entries.slice(0, 3).map(({ data }) => data), ['1', '2', '3'])
  })

  t.test('R1: another entry before those of a notification is found', async t => {
    const { other, tail, end } = await behind(t)
    // A notification of an append by key has no entries.
    await other.appendOnce(numbered(4), 'key')
    await pause(100)
    t.equal(tail.entries.length, 3)
    await other.append(numbered(5))
    await end()
    t.strictSame(offsets(tail).slice(0, 3), [1, 2, 3])
    t.not(tail.entries[3]?.offset, 4, 'an entry after a lost one is not delivered in the same epoch')
  })

  t.test('R1: an answer that is behind a position learned meanwhile makes a check', async t => {
    const { log, at, end } = await behind(t)
    const { known } = log
    log.onAppended({ epoch: known.epoch, newest: 2, at: at - 1, before: 0, ended: false, known: { ...known } }, [])
    log.tick(performance.now())
    await end()
  })

  t.test('R8: an append to tables that were created anew is delivered at once', async t => {
    const log = postgresLog(admin, { schema: 'anew' })('news', HISTORY) as PostgresLog
    const tail = new RecordedTail()
    t.teardown(() => log.close())
    log.tail(tail.listener)
    for (const n of [1, 2, 3]) await log.append(numbered(n))
    await tail.waitFor('all entries', () => tail.entries.length === 3)
    await listens('anew')
    await admin.query('DROP SCHEMA anew CASCADE')
    const other = postgresLog(admin, { schema: 'anew' })('news', HISTORY) as PostgresLog
    t.teardown(() => other.close())
    await other.state()
    const { epoch } = await other.append(numbered(4))
    await tail.waitFor('the new epoch', () => tail.batches.at(-1)?.epoch === epoch)
    await other.append(numbered(5))
    await tail.waitFor('the next entry', () => tail.entries.at(-1)?.data === '5')
  })

  t.test('L11: a listener runs in the context of no caller', async t => {
    const storage = new AsyncLocalStorage<string>()
    const other = open(t)
    const log = open(t, { name: other.name })
    const seen: string[] = []
    const tail = new RecordedTail()
    await storage.run('ann', async () => {
      log.tail(batch => {
        seen.push(storage.getStore() ?? 'nobody')
        tail.listener(batch)
      })
      await log.state()
      await other.append(numbered(1))
      await tail.waitFor('an entry', () => tail.entries.length === 1)
    })
    t.strictSame([...new Set(seen)], ['nobody'])
  })

  t.test('R10: a notification that no function has sent only makes the log read', async t => {
    const log = open(t)
    const tail = new RecordedTail()
    log.tail(tail.listener)
    const { epoch } = await log.append(numbered(1))
    await tail.waitFor('the entry', () => tail.entries.length === 1)
    const forged = ['hello', '', ' ', '? 1', `${log.nameHash} 900000`, `${log.nameHash} 900000!`, `${log.nameHash} x`,
      `${log.nameHash} -1!`, `${log.nameHash} 2 ${log.nameHash}`, 'x'.repeat(7_000), `${log.nameHash} 1e99!`]
    for (const text of [...forged, `= ${'0'.repeat(64)} ${log.nameHash} 900000 ${epoch} 900000 900000 AAAA`]) {
      await admin.query('SELECT pg_notify($1, $2)', ['sse', text])
    }
    await log.append(numbered(2))
    await open(t, { name: log.name }).append(numbered(3))
    await tail.waitFor('all entries', () => tail.entries.length === 3)
    t.strictSame(await log.state(), { epoch, oldest: 1, newest: 3, ended: false })
    t.ok(tail.batches.every(batch => batch.epoch === epoch && !batch.ended && batch.newest <= 3))
  })

  t.test('R8: a notification has the entries, sealed and encrypted, and the other node reads nothing', async t => {
    const pool = server.pool(t)
    const statements: string[] = []
    pool.on('connect', client => {
      const query = client.query.bind(client) as (...args: unknown[]) => unknown
      Object.assign(client, {
        query: (...args: unknown[]) => {
          statements.push((args[0] as { text: string }).text)
          return query(...args)
        }
      })
    })
    const log = open(t)
    const other = open(t, { name: log.name, pool })
    const tail = new RecordedTail()
    other.tail(tail.listener)
    await other.state()
    const payloads: string[] = []
    const listener = await admin.connect()
    t.teardown(() => listener.release(true))
    listener.on('notification', ({ payload }) => { payloads.push(payload ?? '') })
    await listener.query('LISTEN sse')
    // The first append may be read: the connection for notifications may begin after it.
    await until('a notification with the entries', async () => {
      await log.append({ event: 'message', data: '"private"', json: true, fingerprint: 'abc' })
      return payloads.some(payload => payload.startsWith('= '))
    })
    await tail.waitFor('the entry', () => tail.entries.at(-1)?.offset === tail.batches.at(-1)?.newest && tail.entries.length > 0)
    await until('listening', () => statements.some(text => text.includes('pg_notify')))
    await pause(100)
    const before = statements.length
    const { offset } = await log.append({ event: 'message', data: '"private"', json: true, fingerprint: 'abc' })
    await tail.waitFor('the next entry', () => tail.entries.at(-1)?.offset === offset)
    t.strictSame(tail.entries.at(-1), { offset, event: 'message', data: '"private"', json: true, fingerprint: 'abc' })
    t.strictSame(statements.slice(before).filter(text => text.includes('.read(')), [])
    t.equal(other.known.offset, offset, 'a later call checks this position')
    t.notMatch(payloads.join(), /private/)
    // The same text again, and as the position of another offset.
    const [last] = payloads.slice(-1)
    for (const text of [last!, last!.replace(` ${offset} `, ` ${offset + 7} `)]) {
      await admin.query('SELECT pg_notify($1, $2)', ['sse', text])
    }
    const { epoch, offset: next } = await log.append(numbered(2))
    await tail.waitFor('the last entry', () => tail.entries.at(-1)?.offset === next)
    t.strictSame(offsets(tail), upTo(next))
    t.ok(tail.batches.every(batch => batch.epoch === epoch && !batch.ended))
  })

  t.test('an error of PostgreSQL rejects with its code, and it is the cause', async t => {
    const log = open(t)
    await log.append(numbered(1))
    await admin.query('CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA sse TO reader; GRANT SELECT ON sse.layout TO reader')
    const stranger = open(t, { pool: server.pool(t, { user: 'reader' }) })
    for (const call of [() => stranger.append(numbered(1)), () => stranger.read(0, 1), () => stranger.state(),
      () => stranger.end(), () => stranger.peek(), () => stranger.members()]) {
      await t.rejects(async () => call(), { code: 'FST_SSE_LOG_UNAVAILABLE', message: /cannot be used/, cause: { code: '42501' } })
    }
    stranger.tail(() => {})
    await admin.query('GRANT ALL ON ALL TABLES IN SCHEMA sse TO reader')
    t.equal((await stranger.append(numbered(2))).offset, 1, 'and it is used as soon as it can be')
  })

  t.test('thousands of channels begin at once, and each gets its events', async t => {
    const make = postgresLog(server.pool(t), { timeout: 20_000 })
    const logs = upTo(1_500).map(n => make(`many ${n}`, HISTORY))
    t.teardown(() => { for (const log of logs) log.close() })
    const received = new Set<number>()
    for (const [index, log] of logs.entries()) {
      log.tail(({ entries }) => { if (entries.length > 0) received.add(index) })
    }
    await Promise.all(logs.map(async log => log.append(numbered(1))))
    await until('each event', () => received.size === logs.length)
  })

  t.test('a closed log keeps no call pending, and closes twice', async t => {
    const log = open(t)
    log.close()
    log.close()
    await t.rejects(log.state(), { code: 'FST_SSE_LOG_UNAVAILABLE' })
    log.tail(() => {})()
    t.equal(log.listens, false)
    t.equal(log.isIdle(), false)
  })
})

t.test('R1: the read after one that failed checks the same position', async t => {
  const reply = (newest: number): ChannelReply =>
    ({ epoch: 'e', oldest: 1, newest, at: newest * 10, ended: false, nameHash: '-1', entries: [] })
  const asked: number[] = []
  let failing = false
  const reader = {
    state: async () => reply(1),
    read: async ({ known }: ChannelArguments) => {
      asked.push(known.offset)
      if (failing) throw new Error('permission denied')
      return reply(5)
    }
  }
  const context = { reader, timeout: 1_000, starting: new Map(), open: new Set(), onChange: () => {} }
  const log = new PostgresLog('name', HISTORY, context as unknown as PostgresContext)
  t.teardown(() => log.close())
  log.tail(() => {})
  await log.starting
  while (asked.length < 1) await pause(1)
  failing = true
  const entry = { offset: 9, event: 'message', data: '', json: false }
  const batch = { epoch: 'e', newest: 9, at: 90, before: 80, ended: false, entries: [entry] }
  log.onNotification(9, false, { nameHash: '-1', epoch: 'e', newest: 9, at: 90, before: 80, batch: () => batch })
  while (asked.length < 2) await pause(1)
  t.equal(log.known.offset, 9)
  await pause(1)
  failing = false
  log.check()
  while (asked.length < 3) await pause(1)
  t.equal(asked[2], asked[1], 'the position before the gap')
  t.equal(asked[2], 5)
  // A notification of another node came before the answer to an append.
  const state = { epoch: 'e', newest: 10, at: 100, before: 90, ended: false, known: { epoch: 'e', offset: 8, at: 80 } }
  log.onAppended(state, [{ ...entry, offset: 10 }])
  t.strictSame(log.known, { epoch: 'e', offset: 10, at: 100 }, 'never behind an own append')
})
