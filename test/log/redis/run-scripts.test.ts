import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { HistoryLimits, RunLog } from '../../../lib/log/log.ts'
import { lease, locate, peek, register } from '../../../lib/log/redis/run-scripts.ts'
import { redisLog } from '../../../lib/redis.ts'
import { absent, REDIS } from '../../setup/programs.ts'
import { RedisServer } from '../../setup/redis.ts'
import { HISTORY, numbered } from '../../setup/remote-log.ts'

t.test('a status that no script has written is rejected', async t => {
  const decode = (text: string): unknown => peek.decode(Buffer.from(text))
  t.equal(decode(''), null)
  t.strictSame(decode('abc 7 1 0 me complete'),
    { epoch: 'abc', newest: 7, ended: true, outcome: 'complete', owner: 'me', leased: false })
  t.strictSame(decode('abc 0 0 1 me-_1 .'),
    { epoch: 'abc', newest: 0, ended: false, outcome: undefined, owner: 'me-_1', leased: true })
  for (const text of ['x', 'abc 7 1 0 me', 'abc 7 2 0 . .', 'a-c 7 1 0 . .', 'abc 7 1 0 . . .', 'abc 7 1 0 m/e .',
    'abc -1 1 0 . .', 'abc 7 1 0 . .\n.', `abc 7 1 0 ${'x'.repeat(65)} .`]) t.equal(decode(text), undefined, text)
  t.strictSame(['0', '1', '2', ''].map(text => lease.decode(Buffer.from(text))), [false, true, undefined, undefined])
  t.equal(register.decode(Buffer.from('1')), true)
  t.equal(locate.decode(Buffer.from('é')), 'é')
})

t.test('with Redis', { skip: absent(REDIS) }, async t => {
  const server = await RedisServer.start(t)
  const admin = server.client(t)
  let names = 0
  const open = (t: Test, name = `log ${++names}`, history: Partial<HistoryLimits> = {}, client: Redis = admin, timeout = 5_000): RunLog & { name: string } => {
    const log = redisLog(client, { timeout })(name, { ...HISTORY, ...history }) as RunLog
    t.teardown(() => log.close())
    return Object.assign(log, { name })
  }

  t.test('R11: a peek leaves no trace, and keeps no key alive', async t => {
    const log = open(t, undefined, { maxAge: 60_000 })
    t.equal(await log.peek(), undefined)
    t.strictSame(await admin.keys('*'), [])
    await log.append(numbered(1))
    const keys = [`sse:{${log.name}}`, `sse:{${log.name}}:events`]
    for (const key of keys) await admin.pexpire(key, 5_000)
    t.match(await log.peek(), { newest: 1, ended: false, leased: false })
    for (const key of keys) t.ok(await admin.pttl(key) <= 5_000)
  })

  t.test('R11: a lease needs no key of its own, and lives no longer than its log', async t => {
    const log = open(t, undefined, { maxAge: 60_000 })
    t.equal(await log.lease('me', 0), true, 'there is no lease to release')
    t.equal(await log.peek(), undefined)
    await log.lease('me', 3_600_000)
    t.strictSame(await admin.keys(`*${log.name}*`), [`sse:{${log.name}}`])
    const left = await admin.pttl(`sse:{${log.name}}`)
    t.ok(left > 3_600_000 && left <= 3_660_000, String(left))
  })

  t.test('R11: the lease and the outcome of a lost history do not count', async t => {
    const log = open(t)
    await log.lease('me', 60_000)
    await log.append(numbered(1))
    await log.end(undefined, 'complete')
    t.match(await log.peek(), { outcome: 'complete', owner: 'me' })
    // As after a failover to a replica that was behind.
    const lose = async (): Promise<void> => {
      await admin.del(`sse:{${log.name}}:events`)
      await admin.hset(`sse:{${log.name}}`, 'newest', 0)
    }
    await lose()
    t.equal(await log.peek(), undefined)
    const { epoch } = await log.state()
    const none = { outcome: undefined, owner: undefined, leased: false }
    t.strictSame(await log.peek(), { epoch, newest: 0, ended: false, ...none })
    t.equal(await log.lease('you', 60_000), true)
    t.match(await log.peek(), { owner: 'you', leased: true })
    await log.append(numbered(1))
    await lose()
    t.equal(await log.lease('they', 60_000), true)
    t.match(await log.peek(), { owner: 'they', leased: true })
  })

  t.test('R10: keys with other data are not changed', async t => {
    const log = open(t)
    await admin.set(`sse:{${log.name}}`, 'mine')
    for (const call of [() => log.peek(), () => log.lease('me', 1_000), () => log.end(numbered(1), 'complete')]) {
      await t.rejects(async () => call(), { code: 'FST_SSE_LOG_FOREIGN' })
    }
    t.equal(await admin.get(`sse:{${log.name}}`), 'mine')
    const other = open(t)
    await other.append(numbered(1))
    const id = await admin.xadd(`sse:{${other.name}}:events`, '9-0', 'mine', '1')
    await admin.xdel(`sse:{${other.name}}:events`, id!)
    await t.rejects(async () => other.end(numbered(2), 'complete'), { code: 'FST_SSE_LOG_FOREIGN' })
    t.match(await other.peek(), { newest: 1, ended: false })
  })

  t.test('a full Redis ends a log with its last record, and leases it', async t => {
    const log = open(t)
    await log.append(numbered(1))
    await admin.config('SET', 'maxmemory', '1', 'maxmemory-policy', 'noeviction')
    t.teardown(() => admin.config('SET', 'maxmemory', '0'))
    await t.rejects(async () => log.append(numbered(2)), { code: 'FST_SSE_LOG_UNAVAILABLE' })
    t.equal(await log.lease('me', 1_000), true)
    await log.end(numbered(2), 'stopped')
    t.match(await log.peek(), { newest: 2, ended: true, outcome: 'stopped' })
    t.strictSame((await log.read(0, 10)).entries.map(({ data }) => data), ['1', '2'])
  })

  t.test('L12: a peek, a lease and a search for a name have the time limit of a publish', async t => {
    const frozen = await RedisServer.start(t)
    const client = frozen.client(t)
    const log = open(t, 'frozen', {}, client, 50)
    const { locate } = redisLog(client, { timeout: 50 })
    await log.state()
    frozen.signal('SIGSTOP')
    t.teardown(() => frozen.signal('SIGCONT'))
    for (const call of [() => log.peek(), () => log.lease('me', 1_000), () => locate!('abc')]) {
      await t.rejects(async () => call(), {
        code: 'FST_SSE_LOG_UNAVAILABLE',
        message: /did not answer within 50 milliseconds$/
      })
    }
  })
})
