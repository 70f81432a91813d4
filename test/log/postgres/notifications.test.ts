import { once } from 'node:events'
import pg from 'pg'
import t, { type Test } from 'tap'
import { checkEventLog } from '../../../lib/log/check-event-log.ts'
import { Notifications } from '../../../lib/log/postgres/notifications.ts'
import { Database } from '../../../lib/log/postgres/database.ts'
import { RecordedTail } from '../../../lib/log/recorded-tail.ts'
import { postgresLog } from '../../../lib/postgres.ts'
import { PgBouncer } from '../../setup/pgbouncer.ts'
import { PostgresServer } from '../../setup/postgres.ts'
import { absent, PGBOUNCER, POSTGRES } from '../../setup/programs.ts'
import { Relay } from '../../setup/relay.ts'
import { HISTORY, numbered } from '../../setup/remote-log.ts'
import { until } from '../../setup/until.ts'

t.setTimeout(300_000)

t.test('with PostgreSQL', { skip: absent(POSTGRES, PGBOUNCER) }, async t => {
  const server = await PostgresServer.start(t)
  const admin = server.pool(t)

  /** Starts notifications whose connections come from a port. */
  const listen = (
    t: Test,
    port: number,
    times: { probeTime?: number, probeInterval?: number } = {},
    pool: pg.Pool = admin,
    own = true
  ) => {
    const received: string[] = []
    const counts = { losses: 0 }
    const notifications = new Notifications(new Database(pool, 'sse'), {
      listener: own
        ? () => new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database: 'postgres' })
        : undefined,
      pollInterval: 20,
      ...times
    }, {
      onNotification: (...notification) => { received.push(notification.join(' ')) },
      onLoss: () => { counts.losses++ }
    })
    t.teardown(() => notifications.stop())
    notifications.start()
    notifications.start()
    return { notifications, received, counts }
  }
  const notify = (payload: string): Promise<unknown> => admin.query('SELECT pg_notify($1, $2)', ['sse', payload])

  t.test('a notification names each of its channels, and other text names none', async t => {
    const { notifications, received } = listen(t, server.port)
    await until('listening', () => notifications.listening)
    for (const text of ['hello', '', '? 1', '1 x', '1 1e400', '-5 7! 6 8', 'last 9']) await notify(text)
    await until('the notifications', () => received.length === 4)
    t.strictSame(received, ['1 1 false', '-5 7 true', '6 8 false', 'last 9 false'])
  })

  t.test('while it does not listen, its listener is called regularly', async t => {
    const relay = await Relay.start(t, () => [])
    const { notifications, counts } = listen(t, relay.port)
    await until('some polls', () => counts.losses > 3)
    t.equal(notifications.listening, false)
    notifications.stop()
    const { losses } = counts
    await new Promise(resolve => setTimeout(resolve, 60))
    t.equal(counts.losses, losses)
  })

  for (const [title, fault] of [
    ['cut', (relay: Relay) => relay.cut()],
    ['half-open', (relay: Relay) => relay.lose(false)]
  ] as const) {
    t.test(`a connection that is ${title} is replaced, and its listener is told`, async t => {
      const relay = await Relay.start(t, () => [server.port])
      const { notifications, received, counts } = listen(t, relay.port, { probeTime: 300, probeInterval: 50 })
      await until('listening', () => notifications.listening)
      fault(relay)
      await until('the loss', () => !notifications.listening)
      const { losses } = counts
      await until('listening again', () => notifications.listening)
      t.ok(counts.losses > losses)
      await notify('again 1')
      await until('the notification', () => received.includes('again 1 false'))
    })
  }

  t.test('a connection of the pool that comes too late, or after the stop, is returned', async t => {
    const pool = server.pool(t, { max: 2 })
    const held = await Promise.all([pool.connect(), pool.connect()])
    const { notifications, counts } = listen(t, server.port, { probeTime: 50 }, pool, false)
    await until('some polls', () => counts.losses > 5)
    t.equal(notifications.listening, false)
    for (const client of held) client.release()
    await until('listening', () => notifications.listening)
    notifications.stop()
    await until('all are returned', () => pool.totalCount === pool.idleCount && pool.waitingCount === 0)
    notifications.start()
    notifications.stop()
    await until('all are returned again', () => pool.totalCount === pool.idleCount && pool.waitingCount === 0)
  })

  t.test('a server that does not answer is no pooler', async t => {
    const relay = await Relay.start(t, () => [server.port])
    relay.lose()
    const warned: unknown[] = []
    const onWarning = (warning: Error): void => { warned.push(warning) }
    process.on('warning', onWarning)
    t.teardown(() => process.off('warning', onWarning))
    const { notifications } = listen(t, relay.port, { probeTime: 100, probeInterval: 50 })
    await new Promise(resolve => setTimeout(resolve, 300))
    t.equal(notifications.listening, false)
    relay.cut()
    await until('listening', () => notifications.listening)
    t.strictSame(warned, [])

    t.test('nor is a probe that cannot be sent', async t => {
      const relay = await Relay.start(t, () => [])
      const pool = server.pool(t, { port: relay.port })
      const { notifications, counts } = listen(t, server.port, { probeTime: 100, probeInterval: 50 }, pool)
      await until('some polls', () => counts.losses > 10)
      t.equal(notifications.listening, false)
      t.strictSame(warned, [])
    })
  })

  t.test('behind PgBouncer in transaction mode', async t => {
    const bouncer = await PgBouncer.start(t, server.port)

    t.test('the log polls, with a warning, and passes the contract', async t => {
      const warning = once(process, 'warning')
      const log = postgresLog(bouncer.pool(t), { pollInterval: 20 })('warned', HISTORY)
      t.teardown(() => log.close())
      log.tail(() => {})
      await checkEventLog(t, () => postgresLog(bouncer.pool(t), { pollInterval: 20 }), { shared: true })
      t.match(await warning, [{ code: 'FST_SSE_LOG_POLLING', message: /every 20 milliseconds/ }])
    })

    t.test('it warns once', async t => {
      const warned: unknown[] = []
      const onWarning = (warning: Error): void => { warned.push(warning) }
      process.on('warning', onWarning)
      t.teardown(() => process.off('warning', onWarning))
      const { notifications } = listen(t, bouncer.port, { probeTime: 50 })
      await until('the warning', () => warned.length === 1)
      notifications.stop()
      notifications.start()
      await new Promise(resolve => setTimeout(resolve, 500))
      t.equal(warned.length, 1)
    })

    t.test('with a listener of its own it is notified', async t => {
      const direct = { host: '127.0.0.1', port: server.port, user: 'postgres', database: 'postgres' }
      const open = postgresLog(bouncer.pool(t), { pollInterval: 4_000, listener: () => new pg.Client(direct) })
      const log = open('listener', HISTORY)
      const other = postgresLog(bouncer.pool(t))('listener', HISTORY)
      const tail = new RecordedTail()
      log.tail(tail.listener)
      t.teardown(() => [log, other].forEach(each => each.close()))
      await log.state()
      const listening = 'SELECT FROM pg_stat_activity WHERE query LIKE \'LISTEN%\''
      await until('listening', async () => (await admin.query(listening)).rowCount! > 0)
      await other.append(numbered(1))
      await tail.waitFor('the entry', () => tail.entries.length === 1)
    })
  })
})
