import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { type Channel } from '../../lib/index.ts'
import { ChannelTails } from '../../lib/inspector/tails.ts'

async function make (t: Test): Promise<FastifyInstance> {
  const app = Fastify({ logger: false })
  t.teardown(() => app.close())
  await app.register(sse)
  return app
}

function open (t: Test, tails: ChannelTails, app: FastifyInstance, channel: Channel) {
  const viewer = new AbortController()
  const tail = tails.open(channel, { signal: viewer.signal, shutdownSignal: app.sse.shutdownSignal })
  t.teardown(() => viewer.abort())
  const take = async (count: number): Promise<unknown[]> => {
    const events: unknown[] = []
    while (events.length < count) events.push((await tail.next()).value)
    return events
  }
  return { viewer, tail, take }
}

const dataOf = (events: unknown[]): unknown[] => events.map(event => (event as { data: { data: string } }).data.data)

t.test('a tail begins with the last twenty events, and continues with new ones', async t => {
  const app = await make(t)
  const channel = app.sse.channel('news')
  for (let n = 1; n <= 25; n++) channel.publish({ event: 'headline', data: { n } })
  const { take } = open(t, new ChannelTails(), app, channel)
  const first = await take(20)
  t.match(first[0], {
    event: 'event',
    data: { event: 'headline', id: /^\w+-6$/, data: '{"n":6}', size: 7, json: true, skipped: 0 }
  })
  t.equal(dataOf(first).at(-1), '{"n":25}')
  channel.publish({ data: 'plain' })
  t.match(await take(1), [{ data: { event: 'message', data: 'plain', size: 5, json: false } }])
})

t.test('a tail of a shorter history begins with its oldest event, and is counted as an own subscriber', async t => {
  const app = await make(t)
  const channel = app.sse.channel('short', { history: { maxEvents: 2 } })
  for (let n = 1; n <= 5; n++) channel.publish({ data: n })
  const tails = new ChannelTails()
  const { take, tail } = open(t, tails, app, channel)
  t.strictSame(dataOf(await take(2)), ['4', '5'], 'evicted events cause no reset')
  t.equal(app.sse.stats().resets, 0)
  t.equal(channel.subscribers, 1)
  const second = open(t, tails, app, channel)
  await second.take(1)
  t.equal(tails.count('short'), 2)
  await second.tail.return(undefined)
  t.equal(tails.count('short'), 1)
  await tail.return(undefined)
  t.equal(tails.count('short'), 0)
})

t.test('more than fifty events a second are skipped and counted, and long data is truncated', async t => {
  const app = await make(t)
  const channel = app.sse.channel('busy', { history: { maxAge: 60_000 } })
  const { take, tail } = open(t, new ChannelTails(), app, channel)
  const next = tail.next()
  await new Promise(setImmediate)
  for (let n = 1; n <= 500; n++) channel.publish({ data: 'x'.repeat(n === 1 ? 5_000 : 1) })
  const first = (await next).value as { data: { data: string, size: number } }
  t.match({ shown: first.data.data.length, size: first.data.size }, { shown: 4_000, size: 5_000 })
  await take(49)
  // The next event that is shown is in the next second.
  let published = 500
  const more = setInterval(() => channel.publish({ data: String(++published) }), 20)
  t.teardown(() => clearInterval(more))
  const { data: { data, skipped } } = (await tail.next()).value as { data: { data: string, skipped: number } }
  t.ok(Number(data) > 500)
  t.equal(skipped, Number(data) - 51, 'all events between the fiftieth and this one')
})

t.test('the end of the channel is reported, the shutdown of the server is not', async t => {
  const app = await make(t)
  const [ended, other] = [app.sse.channel('ended'), app.sse.channel('other')]
  const one = open(t, new ChannelTails(), app, ended)
  const two = open(t, new ChannelTails(), app, other)
  ended.publish({ data: 1 })
  other.publish({ data: 1 })
  await Promise.all([one.take(1), two.take(1)])
  await ended.end()
  t.strictSame(await one.take(1), [{ event: 'ended', data: null }])
  t.equal((await one.tail.next()).done, true)
  const last = two.tail.next()
  await app.close()
  t.strictSame(await last, { value: undefined, done: true })
})

t.test('a lagging tail ends, so the page reconnects; a failing tail throws', async t => {
  const app = await make(t)
  const channel = app.sse.channel('fast', { history: { maxEvents: 70 } })
  channel.publish({ data: 1 })
  const { take, tail } = open(t, new ChannelTails(), app, channel)
  await take(1)
  for (let n = 0; n < 1_000; n++) channel.publish({ data: n })
  await new Promise(setImmediate)
  for (let n = 0; n < 1_000; n++) channel.publish({ data: n })
  let last = await tail.next()
  for (let n = 0; n < 3_000 && last.done !== true; n++) last = await tail.next()
  t.equal(last.done, true)

  const broken = {
    name: 'broken',
    position: async () => ({ epoch: 'e', oldest: 1, newest: 0 }),
    subscribe: () => {
      throw new Error('no log')
    }
  } as unknown as Channel
  await t.rejects(open(t, new ChannelTails(), app, broken).tail.next(), { message: 'no log' })
})
