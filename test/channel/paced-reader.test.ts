import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { Feed } from '../../lib/channel/feed.ts'
import type { FrameBatch } from '../../lib/channel/frame-batch.ts'
import type { Pace } from '../../lib/channel/pace.ts'
import { resolveChannel } from '../../lib/channel/settings.ts'
import { Subscriber } from '../../lib/channel/subscriber.ts'
import type { SubscriberSink } from '../../lib/channel/subscriber-context.ts'
import { freeContract } from '../../lib/contract/contract.ts'
import { logger, numberFeed } from '../setup/feed.ts'
import { dice, numbered, RemoteLog } from '../setup/remote-log.ts'
import { ALL, TestSubscriber } from '../setup/test-subscriber.ts'
import { Track } from '../setup/track.ts'
import { within } from '../setup/within.ts'

const HOUR = 3_600_000
/** Waits until the events of this turn were delivered, also if it has lasted too long. */
const settled = async (): Promise<void> => {
  await turn()
  await turn()
}

/** Every fourth number has no key; the others share three. */
const keyOf = (n: number): number | undefined => n % 4 === 0 ? undefined : n % 4
const pace = (every: number): Pace => ({ every, key })
const key: Pace['key'] = ({ data }) => keyOf(Number(data))

t.test('R5: paced subscribers share the frames of a step, and each merged event is counted', async t => {
  const { feed, publish, frame, to } = numberFeed()
  const subscribers = await Promise.all([1, 2, 3].map(() => new TestSubscriber(feed, { pace: pace(HOUR) }).start()))
  publish(1)
  await settled()
  publish(5, 6, 9, 10, 4)
  await settled()
  for (const { received } of subscribers) {
    t.strictSame(received, [frame(1), to(3), frame(9, 4), frame(10, 5), frame(4, 6)])
  }
  const [first, ...others] = subscribers.map(({ batches }) => batches.at(-1))
  for (const other of others) t.equal(other, first)
  t.equal(feed.statistics.merged, 6)
  for (const { reader } of subscribers) reader.stop()
})

t.test('R5: filter and map apply after the pace, and to what it sends only', async t => {
  const { feed, publish, frame, to } = numberFeed()
  const seen: unknown[] = []
  const filter = ({ data }: { data: unknown }): boolean => {
    seen.push(data)
    return Number(data) % 2 === 0
  }
  const subscriber = await new TestSubscriber(feed, { pace: pace(HOUR), projection: { filter } }).start()
  publish(1, 5, 9, 2, 6)
  await settled()
  t.strictSame(seen, [9, 6])
  t.strictSame(subscriber.received, [to(4), frame(6, 5)])
  subscriber.reader.stop()
})

t.test('R2: a client resumes with the latest of each key after its position, and all events without a key', async t => {
  const { feed, publish, frame, to, at } = numberFeed()
  publish(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
  const subscriber = await new TestSubscriber(feed, { pace: pace(HOUR) }).start(at(3))
  t.strictSame(subscriber.received, [frame(4), to(7), frame(8), to(9), frame(10), frame(11), frame(12), frame(13)])
  t.equal(subscriber.caughtUpCount, 1)
  t.equal(feed.statistics.merged, 4)
  subscriber.reader.stop()
})

t.test('R5: a reader behind a step gets no event that still waits, and later the latest of each key once', async t => {
  const { feed, publish, frame, to } = numberFeed()
  const [slow, fast] = await Promise.all([1, 2].map(() => new TestSubscriber(feed, { pace: pace(HOUR) }).start()))
  publish(1, 2)
  await settled()
  slow!.room = 0
  publish(5, 4)
  await settled()
  publish(9, 3)
  await settled()
  t.strictSame(fast!.received, [frame(1), frame(2), frame(5, 3), frame(4, 4)])
  await slow!.setRoom(Infinity)
  t.strictSame(slow!.received, [frame(1), frame(2), to(3), frame(4, 4)], 'a later event, which waits, replaces 5')
  publish(8)
  await settled()
  for (const { received } of [slow!, fast!]) {
    t.strictSame(received.slice(4), [frame(9, 5), frame(3, 6), frame(8, 7)])
  }
  for (const { reader } of [slow!, fast!]) reader.stop()
})

t.test('R5: a reader behind a step whose events were all replaced moves to its end', async t => {
  const { feed, publish, frame } = numberFeed()
  const subscriber = await new TestSubscriber(feed, { pace: pace(HOUR) }).start()
  subscriber.room = 0
  publish(1)
  await settled()
  publish(5)
  await subscriber.setRoom(Infinity)
  t.strictSame(subscriber.received.length, 1)
  t.match(subscriber.received[0], { id: /-1$/ })
  publish(4)
  await settled()
  t.strictSame(subscriber.received.slice(1), [frame(5, 2), frame(4, 3)])
  subscriber.reader.stop()
})

t.test('R5: without a history, a paced reader with room loses nothing', async t => {
  const { feed, publish, frame, to } = numberFeed({ history: { maxEvents: 0 } })
  const subscriber = await new TestSubscriber(feed, { pace: pace(HOUR) }).start()
  publish(1)
  await settled()
  publish(5, 9, 4)
  await settled()
  t.strictSame(subscriber.received, [frame(1), to(2), frame(9, 3), frame(4, 4)])
  subscriber.reader.stop()
})

for (const slowConsumer of ['disconnect', 'skip', 'snapshot'] as const) {
  t.test(`R5: '${slowConsumer}' decides about events beyond the limits, which nothing replaces`, async t => {
    const { feed, publish, frame } = numberFeed({ slowConsumer, history: { maxEvents: 2 } })
    const projection = { snapshot: () => ({ data: 'state' }) }
    const subscriber = await new TestSubscriber(feed, { pace: pace(HOUR), projection }).start()
    subscriber.room = 0
    publish(4, 8, 12)
    await settled()
    await subscriber.setRoom(Infinity)
    publish(16)
    await settled()
    const [first, ...rest] = subscriber.received
    if (slowConsumer === 'disconnect') return t.strictSame(subscriber.received, ['lagging news'])
    if (slowConsumer === 'skip') {
      t.match(first, { event: 'sse.gap', data: { dropped: 1 }, id: /-1$/ })
      t.strictSame(rest, [frame(8, 2), frame(12, 3), frame(16, 4)])
    } else {
      t.match(first, { startPosition: { notice: { event: 'sse.gap', data: { dropped: 3 } }, position: 3 } })
      t.strictSame(rest, [frame(16, 4)])
    }
    subscriber.reader.stop()
  })
}

t.test('R5: events that were evicted before the first read are a gap, and the subscriber is not slow', async t => {
  const { feed, publish, frame } = numberFeed({ history: { maxEvents: 2 } })
  const subscriber = new TestSubscriber(feed, { pace: pace(HOUR), projection: { start: 'earliest' } })
  publish(4, 8)
  await subscriber.open()
  publish(12, 16)
  subscriber.reader.start()
  await settled()
  t.match(subscriber.received[0], { event: 'sse.gap', data: { dropped: 2 } })
  t.strictSame(subscriber.received.slice(1), [frame(12, 3), frame(16, 4)])
  subscriber.reader.stop()
})

t.test('R7: the end of the channel comes after all that waits', async t => {
  const { feed, log, publish, frame } = numberFeed()
  const subscribers = await Promise.all([1, 2].map(() => new TestSubscriber(feed, { pace: pace(HOUR) }).start()))
  const late = await new TestSubscriber(feed, { pace: pace(HOUR) }).start()
  late.room = 0
  publish(1)
  await settled()
  publish(5)
  log.end()
  await settled()
  for (const { received } of subscribers) t.strictSame(received, [frame(1), frame(5, 2), 'ended'])
  await late.setRoom(Infinity)
  t.strictSame(late.received.slice(-2), [frame(5, 2), 'ended'])
  const after = await new TestSubscriber(feed, { pace: pace(HOUR), projection: { start: 'earliest' } }).start()
  t.strictSame(after.received.slice(-2), [frame(5, 2), 'ended'])
  t.equal(feed.readers, 0)
})

t.test('R7: a stream that the server ends gets what waits', async t => {
  const { feed, publish, frame } = numberFeed()
  const subscriber = await new TestSubscriber(feed, { pace: pace(HOUR) }).start()
  publish(1)
  await settled()
  publish(5)
  subscriber.reader.flush()
  t.strictSame(subscriber.received, [frame(1), frame(5, 2)])
  subscriber.reader.stop()
  subscriber.reader.stop()
  const unopened = new TestSubscriber(feed, { pace: pace(HOUR) })
  unopened.reader.flush()
  unopened.reader.stop()
  unopened.open()
  t.equal(feed.readers, 0)
})

t.test('C5: entries that do not match the event map are left out, and their offsets are passed', async t => {
  const { feed, log, publish, at } = numberFeed()
  const review = feed.review.bind(feed)
  feed.review = (entry, epoch) => entry.data === '7'
    ? { offset: entry.offset, event: 'message', data: '', json: false, omitted: true }
    : review(entry, epoch)
  const subscriber = await new TestSubscriber(feed, { pace: pace(HOUR) }).start()
  publish(7, 4, 7, 1)
  await settled()
  const { epoch } = log.now
  t.strictSame(subscriber.received.map(each => String(each).split('\n').find(line => line.startsWith('id'))),
    [1, 2, 3, 4].map(offset => `id: ${epoch}-${offset}`))
  publish(5, 7)
  await settled()
  log.end()
  await settled()
  t.equal(subscriber.received.at(-1), 'ended')
  t.match(subscriber.received.at(-2), { id: `${epoch}-6` })
  const again = await new TestSubscriber(feed, { pace: pace(HOUR) }).start(at(5))
  t.equal(again.received.at(-1), 'ended')
})

t.test('R9: a subscriber that gets no positions has frames of its own', async t => {
  const { feed, publish, frame } = numberFeed()
  const subscriber = await new TestSubscriber(feed, { pace: pace(HOUR), omitsPositions: true }).start()
  publish(1, 5, 9)
  await settled()
  t.strictSame([subscriber.received, subscriber.batches], [[frame(9, 3)], []])
  subscriber.reader.stop()
})

/** Records the bytes of a stream. */
class WireSink implements SubscriberSink {
  text = ''
  room = Infinity
  outcome: unknown
  writeFrames = (frames: string | FrameBatch): void => {
    this.room--
    this.text += typeof frames === 'string' ? frames : frames.text
  }

  write (event: unknown, before: string): boolean {
    this.room--
    this.text += before + freeContract.frame(event)
    return true
  }

  hasRoom (): boolean { return this.room > 0 }
  complete (): void { this.outcome = 'complete' }
  respondNoContent (): void { this.outcome = 'nothing' }
  channelEnded (): void { this.outcome = 'ended' }
  fellBehind (): void { this.outcome = 'lagging' }
  fail (error: unknown): void { this.outcome = error }
}

const steps = fc.array(fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('publish' as const), channel: fc.nat(1), count: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom('room' as const, 'turns' as const), channel: fc.nat(1), count: fc.integer({ min: 0, max: 9 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('wait' as const, 'cut' as const), channel: fc.nat(1), count: fc.nat(300) }) }
), { maxLength: 40 })

for (const late of [false, true]) {
  t.test(`R2, R5: with any keys, cut at any byte and resumed, a log that answers ${late ? 'late' : 'at once'}: the last value of each key is right, no event comes twice, each without a key comes once`, async t => {
    await fc.assert(
      fc.asyncProperty(steps, fc.integer(), fc.integer({ min: 1, max: 2 }), fc.boolean(), fc.boolean(),
        async (steps, seed, channels, filtered, shared) => {
          const feeds = Array.from({ length: channels }, (_, index) => {
            const log = new RemoteLog({}, late ? dice(seed + index) : undefined)
            return { log, feed: new Feed(resolveChannel(`channel ${index}`, {}), log, logger) }
          })
          const published = new Map<string, number[]>()
          const underWay: unknown[] = []
          const connect = (asked: string | undefined): { sink: WireSink, subscriber: Subscriber } => {
            const sink = new WireSink()
            const subscriber = new Subscriber(feeds.map(({ feed }, index) => ({
              feed,
              after: undefined,
              signal: undefined,
              pace: pace(index + 1),
              projection: { ...ALL, start: 'earliest', filter: filtered ? () => true : undefined }
            })), sink)
            subscriber.start(asked)
            return { sink, subscriber }
          }
          // Another subscriber keeps the pacers, or not.
          const keeper = shared ? connect(undefined) : undefined
          let stream = connect(undefined)
          const texts: string[] = []
          let n = 0
          for (const step of steps) {
            const { log } = feeds[step.channel % channels]!
            if (step.do === 'publish') {
              for (let count = step.count; count > 0; count--) {
                const number = ++n
                underWay.push(Promise.resolve(log.append(numbered(number))).then(({ epoch, offset }) => {
                  published.set(epoch, Object.assign(published.get(epoch) ?? [], { [offset]: number }))
                }))
              }
            } else if (step.do === 'room') {
              stream.sink.room = step.count
              stream.subscriber.pull()
            } else if (step.do === 'turns') {
              for (let count = step.count; count > 0; count--) await turn()
            } else if (step.do === 'wait') {
              await sleep(step.count % 4)
            } else {
              stream.subscriber.stop()
              const { text } = stream.sink
              texts.push(text.slice(0, Math.max(0, text.length - step.count)))
              stream = connect(texts.map(text => new Track(text).id).findLast(id => id !== ''))
            }
          }
          await Promise.all(underWay)
          stream.sink.room = Infinity
          stream.subscriber.pull()
          for (const { log } of feeds) await log.end()
          await within('the end', (async () => {
            while (stream.sink.outcome === undefined) {
              await turn()
              stream.subscriber.pull()
            }
          })())
          keeper?.subscriber.stop()
          texts.push(stream.sink.text)
          const events = texts.flatMap(text => new Track(text).events)
          for (const [epoch, numbers] of published) {
            const received = events.filter(event => event.epoch === epoch)
            for (const [index, { offset, data }] of received.entries()) {
              if (numbers[offset] !== Number(data)) throw new Error(`${data} at ${offset}, not ${numbers[offset]}`)
              if (index > 0 && offset <= received[index - 1]!.offset) throw new Error(`${offset} comes twice or late`)
            }
            const expected = numbers.filter((number, offset) => {
              const key = keyOf(number)
              return key === undefined || !numbers.slice(offset + 1).some(later => keyOf(later) === key)
            })
            const got = new Set(received.map(({ data }) => Number(data)))
            for (const number of expected) if (!got.has(number)) throw new Error(`${number} is missing`)
          }
        }),
      { numRuns: 150 }
    )
    t.pass('for any interleaving')
  })
}
