import t from 'tap'
import type { ActiveChannel } from '../../lib/channel/active-channel.ts'
import type { ActivePresence } from '../../lib/channel/active-presence.ts'
import { ChannelHandle, type ChannelHost, type ResolvedSettings } from '../../lib/channel/channel-handle.ts'
import { presenceSettings } from '../../lib/channel/presence-events.ts'
import { resolveChannel } from '../../lib/channel/settings.ts'
import { memoryLog } from '../../lib/log/memory.ts'

const eventLog = memoryLog()
const settings: ResolvedSettings = { ...resolveChannel('news', { start: 'earliest' }), eventLog }

/** Channels that record each call, and answer with `active` and `members`. */
function make (active?: Partial<ActiveChannel>, members?: Partial<ActivePresence>) {
  const calls: unknown[] = []
  const record = <T>(answer: T, ...call: unknown[]): T => {
    calls.push(call)
    return answer
  }
  const host: ChannelHost = {
    activeWith: settings => record(active as ActiveChannel | undefined, 'activeWith', settings.name),
    activate: handle => record(active as ActiveChannel | undefined, 'activate', handle.settings.name),
    members: settings => record(members as ActivePresence | undefined, 'members', settings.name),
    presenceOf: () => { throw new Error('no members') },
    watch: (name, call) => record(undefined, 'watch', name, call)
  }
  return { host, calls }
}

t.test('a handle finds or creates the active channel by its settings', async t => {
  const { host, calls } = make({ readers: 3, append: () => 'e-7', open: true })
  const options = {}
  const handle = new ChannelHandle(host, settings, options)
  t.equal(handle.options, options)
  t.strictSame([handle.start, handle.snapshot, handle.channel.name], ['earliest', undefined, 'news'])
  t.equal(handle.channel.subscribers, 3)
  t.equal(await handle.channel.publish({ data: 1 }), 'e-7')
  t.throws(() => handle.channel.presence, /no members/)
  t.strictSame(calls, [['activeWith', 'news'], ['activate', 'news']])
})

t.test('a closed channel rejects its calls, and the rejections are watched', async t => {
  const { host, calls } = make()
  const { channel } = new ChannelHandle(host, settings, {})
  t.equal(channel.subscribers, 0)
  await t.rejects(channel.publish({ data: 1 }), { code: 'FST_SSE_CLOSING' })
  t.strictSame(calls.at(-1), ['watch', 'news', 'publish'])
})

t.test('the snapshot of a presence is the event with its members, nothing after the close', async t => {
  const event = { event: 'members' as const, data: { members: ['ann'] } }
  const own = presenceSettings(settings)
  const { host, calls } = make(undefined, { event: async () => event })
  t.equal(await new ChannelHandle(host, own, {}).snapshot!(), event)
  t.strictSame(calls, [['members', own.name]])
  t.equal(await new ChannelHandle(make().host, own, {}).snapshot!(), undefined)
})
