import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import type { EventLog, HistoryLimits, MemberLog } from '../../../lib/log/log.ts'
import { Commands } from '../../../lib/log/redis/commands.ts'
import { decodeMembers, hold } from '../../../lib/log/redis/member-scripts.ts'
import { redisLog } from '../../../lib/redis.ts'
import { absent, REDIS } from '../../setup/programs.ts'
import { RedisServer } from '../../setup/redis.ts'
import { HISTORY, numbered } from '../../setup/remote-log.ts'

const LONG = 60_000

t.test('members that no script has written are rejected', async t => {
  const decode = (text: string): unknown => decodeMembers(Buffer.from(text))
  t.strictSame(decode(''), [])
  t.strictSame(decode('3 "a"5 "€"0 3 1 2'), ['"a"', '"€"', '', '1 2'])
  for (const text of ['a', '3', '4 "a"', '-1 a', 'x "a"', '3 "a"x']) t.equal(decode(text), undefined, text)
})

t.test('with Redis', { skip: absent(REDIS) }, async t => {
  const server = await RedisServer.start(t)
  const admin = server.client(t)
  let names = 0
  const open = (
    t: Test,
    history: Partial<HistoryLimits> = {},
    client: Redis = admin
  ): EventLog & MemberLog & { name: string } => {
    const name = `log ${++names}`
    const log = redisLog(client)(name, { ...HISTORY, ...history }) as EventLog & MemberLog
    t.teardown(() => log.close())
    return Object.assign(log, { name })
  }
  const changesOf = async (log: EventLog): Promise<string[]> =>
    (await log.read(0, 100)).entries.map(({ event, data }) => `${event} ${data}`)
  const keysOf = ({ name }: { name: string }): string[] => [`sse:{${name}}:leases`, `sse:{${name}}:members`]

  t.test('asking for members creates nothing', async t => {
    t.strictSame(await open(t).members(), [])
    t.strictSame(await admin.keys(`*${names}}*`), [])
  })

  t.test('the keys live as long as the log, and at least as long as a lease', async t => {
    const log = open(t, { maxAge: LONG })
    await log.hold('one', { add: ['"a"'], remove: [] }, 7_200_000)
    for (const key of [`sse:{${log.name}}`, ...keysOf(log)]) {
      const left = await admin.pttl(key)
      t.ok(left > 10_850_000 && left <= 10_860_000, `${key} ${left}`)
    }
    const forever = open(t)
    await forever.hold('one', { add: ['"a"'], remove: [] }, LONG)
    for (const key of keysOf(forever)) t.equal(await admin.pttl(key), -1)
    await forever.end()
    t.equal(await admin.exists(...keysOf(forever)), 0, 'the end deletes them')
  })

  t.test('no field is left of members and holders that are gone', async t => {
    const log = open(t)
    await log.hold('one', { add: ['"a"', '"b"'], remove: [] }, 1)
    await log.hold('two', { add: ['"a"'], remove: [] }, LONG)
    while ((await log.members()).length > 1);
    await log.hold('two', { add: [], remove: ['"a"'] }, LONG)
    const [leases, members] = keysOf(log)
    t.strictSame(await admin.zrange(leases!, 0, '-1'), ['two'])
    t.strictSame((await admin.hkeys(members!)).sort(), ['epoch', 'last two'])
  })

  t.test('leaves by the end of a lease have the fingerprint that its holder used', async t => {
    const log = open(t)
    await log.hold('one', { add: ['"a"'], remove: [], fingerprint: 'abc' }, 1)
    while ((await log.members()).length > 0);
    t.match((await log.read(1, 1)).entries, [{ event: 'leave', data: '"a"', json: true, fingerprint: 'abc' }])
  })

  t.test('R1: members of a lost history do not count', async t => {
    const log = open(t)
    await log.hold('one', { add: ['"a"'], remove: [] }, LONG)
    await admin.del(`sse:{${log.name}}`)
    t.strictSame(await log.members(), [])
    t.equal(await log.hold('one', { add: ['"b"'], remove: [] }, LONG), false)
    t.strictSame([await log.members(), await changesOf(log)], [['"b"'], ['join "b"']])
  })

  t.test('a repeated call gets the same answer', async t => {
    const key = 'repeated'
    const run = (call: string): Promise<boolean> => new Commands(admin).run(hold,
      [key, `${key}:events`, `${key}:leases`, `${key}:members`],
      ['fresh', '', 0, '', 10, 1_000, -1, '', 'secret', 'PUBLISH', 'channel', 'one', LONG, call, 'json', 1, '"a"'], () => true)
    t.strictSame([await run('x'), await run('x'), await run('y'), await run('y')], [false, false, true, true])
    t.equal(await admin.xlen(`${key}:events`), 1)
  })

  t.test('after the end there are no members, and a hold is rejected', async t => {
    const log = open(t)
    await log.hold('one', { add: ['"a"'], remove: [] }, LONG)
    await log.end()
    t.strictSame(await log.members(), [])
    await t.rejects(async () => log.hold('one', { add: ['"b"'], remove: [] }, LONG), { code: 'FST_SSE_CHANNEL_ENDED' })
    t.strictSame(await changesOf(log), ['join "a"'])
  })

  t.test('without the right to publish nothing is changed', async t => {
    await admin.acl('SETUSER', 'mute', 'on', '>secret', '~*', '+@all', 'resetchannels')
    const log = open(t, {}, server.client(t, { username: 'mute', password: 'secret' }))
    await t.rejects(async () => log.hold('one', { add: ['"a"'], remove: [] }, LONG), { code: 'FST_SSE_LOG_UNAVAILABLE' })
    await admin.acl('SETUSER', 'mute', '&*')
    await log.hold('one', { add: ['"a"'], remove: [] }, 1)
    await admin.acl('SETUSER', 'mute', 'resetchannels')
    await new Promise(resolve => setTimeout(resolve, 5))
    await t.rejects(async () => log.members(), { code: 'FST_SSE_LOG_UNAVAILABLE' })
    t.strictSame(await changesOf(log), ['join "a"'])
  })

  t.test('R10: a stream with an entry of another program is not changed', async t => {
    for (const call of ['hold', 'members'] as const) {
      const log = open(t)
      await log.append(numbered(1))
      if (call === 'members') await log.hold('one', { add: ['"a"'], remove: [] }, 1)
      const id = await admin.xadd(`sse:{${log.name}}:events`, '9-0', 'mine', '1')
      await admin.xdel(`sse:{${log.name}}:events`, id!)
      await new Promise(resolve => setTimeout(resolve, 5))
      const answer = call === 'hold' ? log.hold('one', { add: ['"b"'], remove: [] }, LONG) : log.members()
      await t.rejects(async () => answer, { code: 'FST_SSE_LOG_FOREIGN' })
      t.equal(await admin.exists(...keysOf(log)), 0, 'changes without their entries do not count')
    }
  })
})
