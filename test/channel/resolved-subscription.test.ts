import { Type } from '@sinclair/typebox'
import type { FastifyBaseLogger } from 'fastify'
import t from 'tap'
import { ChannelReader } from '../../lib/channel/channel-reader.ts'
import { CompactedReader } from '../../lib/channel/compacted-reader.ts'
import { Feed } from '../../lib/channel/feed.ts'
import { PacedReader } from '../../lib/channel/paced-reader.ts'
import { readerOf, resolveSubscriptions } from '../../lib/channel/resolved-subscription.ts'
import { resolveChannel, type ChannelOptions } from '../../lib/channel/settings.ts'
import { compileContract, freeContract } from '../../lib/contract/contract.ts'
import type { EventMap } from '../../lib/contract/event-types.ts'
import { loadTypeBoxes } from '../../lib/schema/packages.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'
import { kSubscribed, noChannel } from '../../lib/source/source.ts'
import { RemoteLog } from '../setup/remote-log.ts'
import { ALL, TestSubscriber } from '../setup/test-subscriber.ts'

await loadTypeBoxes()

const logger = { error: () => {} } as unknown as FastifyBaseLogger
const feedOf = (options: ChannelOptions = {}): Feed => new Feed(resolveChannel('news', options), new RemoteLog(), logger)

t.test('C4: a route serves channels with its own schemas, or with a map to them', async t => {
  const events: EventMap = { tick: Type.Number(), message: Type.String() }
  const contract = compileContract(events, 'GET /', schemaCompiler({}))
  const others: Array<[EventMap | undefined, boolean]> = [[events, true], [{ tick: events.tick! }, true], [{
    tick: Type.Number()
  }, false], [{ ...events, more: Type.Null() }, false], [undefined, false]]
  for (const [map, fits] of others) {
    const feed = feedOf({ events: map })
    const channelSource = { [kSubscribed]: { feed, projection: ALL, after: undefined, signal: undefined } }
    if (fits) t.equal(resolveSubscriptions([channelSource], contract)[0], channelSource[kSubscribed])
    else {
      t.throws(() => resolveSubscriptions([channelSource], contract), {
        code: 'FST_SSE_CHANNEL_EVENTS',
        message: /'news'/
      })
    }
    t.equal(resolveSubscriptions([channelSource], freeContract).length, 1)
    t.equal(
      resolveSubscriptions([{ [kSubscribed]: { feed, projection: { ...ALL, map: () => undefined } } }], contract)
        .length,
      1
    )
  }
})

t.test('a channel that does not exist is no subscription', async t => {
  const feed = feedOf()
  const channelSource = { [kSubscribed]: { feed, projection: ALL, after: undefined, signal: undefined } }
  t.strictSame(resolveSubscriptions([noChannel], freeContract), [])
  t.strictSame(resolveSubscriptions([noChannel, channelSource], freeContract), [channelSource[kSubscribed]])
})

t.test('a channel without compactBy and pace has the plain reader', async t => {
  const compacting = feedOf({ slowConsumer: { compactBy: () => 1 } })
  const pace = { every: 5, key: () => 1 }
  const rows = [[feedOf(), undefined, ChannelReader], [feedOf({ slowConsumer: 'snapshot' }), undefined, ChannelReader],
    [compacting, undefined, CompactedReader], [feedOf(), pace, PacedReader], [compacting, pace, PacedReader]] as const
  for (const [feed, pace, Reader] of rows) {
    t.equal(readerOf({ feed, projection: ALL, pace }, new TestSubscriber(feed)).constructor, Reader)
  }
})
