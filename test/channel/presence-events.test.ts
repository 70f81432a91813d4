import t from 'tap'
import { isPresence, presenceEvents, presenceSettings, presentIn } from '../../lib/channel/presence-events.ts'
import { isChannelName, resolveChannel } from '../../lib/channel/settings.ts'

t.test('the presence of a channel has its history and lease, its own events, and a reserved name', async t => {
  const settings = resolveChannel('room:1', {
    events: { message: { type: 'string' } },
    history: { maxEvents: 7 },
    start: 'earliest',
    slowConsumer: 'skip',
    errorEvent: null,
    leaseDuration: 1_000
  })
  const own = presenceSettings(settings)
  t.strictSame(own, {
    ...resolveChannel('room:1', { history: { maxEvents: 7 }, leaseDuration: 1_000 }),
    name: 'sse.presence:room:1',
    events: presenceEvents
  })
  t.equal(isChannelName(own.name), false)
  t.equal(presentIn(own.name), settings.name)
  t.strictSame([own.name, settings.name].map(isPresence), [true, false])
})
