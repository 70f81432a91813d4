import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import t from 'tap'
import { ActivePresence } from '../../lib/channel/active-presence.ts'
import type { Channel } from '../../lib/channel/channel.ts'
import { Channels } from '../../lib/channel/channels.ts'
import { presenceSettings } from '../../lib/channel/presence-events.ts'
import { resolveChannel } from '../../lib/channel/settings.ts'
import { freeContract } from '../../lib/contract/contract.ts'
import type { EventLog, MemberLog } from '../../lib/log/log.ts'
import { asMemberLog } from '../../lib/log/required-methods.ts'
import { memoryLog } from '../../lib/log/memory.ts'
import { Statistics } from '../../lib/metrics/statistics.ts'
import { EventQueue } from '../../lib/source/event-queue.ts'
import { until } from '../setup/until.ts'

const logger = { warn: () => {}, error: () => {} } as unknown as FastifyBaseLogger

const make = (
  eventLog: (...args: Parameters<ReturnType<typeof memoryLog>>) => EventLog = memoryLog(),
  leaseDuration = 60_000
) =>
  new ActivePresence({
    settings: presenceSettings(resolveChannel('room', { leaseDuration, history: { maxAge: 1 } })),
    contract: freeContract,
    eventLog,
    log: logger,
    statistics: new Statistics()
  })

t.test('members are those of all holders, in order, and the event has all of them', async t => {
  const presence = make()
  t.strictSame(await presence.members(), [])
  const log = asMemberLog(presence.feed.log)
  await log.hold('other', { add: ['{"member":"b"}'], remove: [] }, 60_000)
  const leave = presence.join('c')
  presence.join('a')
  await turn()
  t.strictSame(await presence.members(), ['a', 'b', 'c'])
  leave()
  await turn()
  await turn()
  t.strictSame(await presence.event(), { event: 'members', data: { members: ['a', 'b'] } })
  await presence.release()
  t.strictSame(await presence.members(), ['b'])
  presence.close()
})

t.test('a presence with members of this process stays in memory', async t => {
  const presence = make((...args) => Object.assign(memoryLog()(...args), { isIdle: () => true }))
  t.equal(presence.isIdle(), true)
  const leave = presence.join('a')
  t.equal(presence.isIdle(), false)
  await turn()
  leave()
  t.equal(presence.isIdle(), false)
  await until('it is idle', () => presence.isIdle())
  presence.close()
})

t.test('the timer renews the lease, and ends the leases of others if there are subscribers', async t => {
  const presence = make(memoryLog(), 300)
  const log = asMemberLog(presence.feed.log)
  const leave = presence.join('a')
  await turn()
  await new Promise(resolve => setTimeout(resolve, 600))
  t.strictSame(await log.members(), ['{"member":"a"}'])
  leave()
  await turn()
  await log.hold('other', { add: ['{"member":"b"}'], remove: [] }, 20)
  const { newest } = await log.state()
  await new Promise(resolve => setTimeout(resolve, 150))
  t.equal((await log.state()).newest, newest)
  const reader = { deliver: () => {}, onStateChange: () => {}, close: () => {} }
  await presence.feed.add(reader)
  await until('the other one leaves', async () => (await log.state()).newest === newest + 1)
  presence.close()
})

t.test('a log without members is closed', async t => {
  let closed = 0
  t.throws(() => make((...args) => {
    const log: Partial<MemberLog> = memoryLog()(...args)
    return Object.assign(log, { hold: undefined, close: () => { closed++ } }) as unknown as EventLog
  }), { code: 'FST_SSE_LOG_METHOD' })
  t.equal(closed, 1)
})

t.test('only members change a presence, also in a program without types', async t => {
  const channels = new Channels({
    eventLog: memoryLog(),
    statistics: new Statistics(),
    log: logger,
    compile: () => freeContract
  })
  t.teardown(() => channels.close())
  const room = channels.channel('room')
  const presence = room.presence as unknown as Channel
  const join = { event: 'join', data: { member: 'not there' } }
  const source = new EventQueue<never, typeof join>()
  const rejection = {
    code: 'FST_SSE_PUBLISH',
    message: "The event cannot be published: only subscriptions with the option 'as' change a presence"
  }
  await t.rejects(presence.publish(join), rejection)
  await t.rejects(presence.publish(join, { key: 'a' }), rejection)
  await t.rejects(presence.publishFrom(source), rejection)
  await t.rejects(presence.end(join), rejection)
  await t.rejects(presence.end(), rejection)
  t.equal(source.signal.aborted, true)
  t.match(await presence.position(), { newest: 0, ended: false })
  t.strictSame(await room.members(), [])
})
