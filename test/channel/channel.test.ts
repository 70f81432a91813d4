import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import t from 'tap'
import { Channel, type Presence } from '../../lib/channel/channel.ts'
import { resolveChannel } from '../../lib/channel/settings.ts'
import { ActiveChannel } from '../../lib/channel/active-channel.ts'
import { freeContract } from '../../lib/contract/contract.ts'
import { EventQueue } from '../../lib/source/event-queue.ts'
import { asChannelSources } from '../../lib/source/source.ts'
import { Statistics } from '../../lib/metrics/statistics.ts'
import { dice, RemoteLog } from '../setup/remote-log.ts'
import { within } from '../setup/within.ts'

/**
 * Creates a channel over active channels that the test opens and closes. `state.found` counts how often one was created
 * for it.
 */
function make (makeLog: () => RemoteLog = () => new RemoteLog()) {
  const logged: Array<[call: string, error: unknown]> = []
  const log = { error: () => {} } as unknown as FastifyBaseLogger
  const state = { found: 0, closed: false, active: [] as ActiveChannel[], logs: [] as RemoteLog[] }
  const channel: Channel = new Channel('news', {
    start: 'latest',
    find: () => state.active.findLast(({ open }) => open),
    get () {
      const existing = state.active.findLast(({ open }) => open)
      if (existing !== undefined) return existing
      state.found++
      if (state.closed) return undefined
      const remote = makeLog()
      state.logs.push(remote)
      const active = new ActiveChannel({
        settings: resolveChannel('news', {}),
        contract: freeContract,
        eventLog: () => remote,
        log,
        statistics: new Statistics()
      })
      state.active.push(active)
      return active
    },
    presence: () => ({ channel: channel as unknown as Presence, members: undefined }),
    watch: (call, answer) => { answer.catch((error: unknown) => { logged.push([call, error]) }) }
  })
  return { channel, state, logged }
}

/** Returns the first event of a loop, and leaves the loop. */
async function first<T> (source: AsyncIterable<T>): Promise<T | undefined> {
  const loop = source[Symbol.asyncIterator]()
  const { value } = await within('the first event', loop.next()) as { value: T | undefined }
  await loop.return!()
  return value
}

t.test('R1: publish resolves to the id, whose offset counts from 1 in the epoch', async t => {
  for (const makeLog of [() => new RemoteLog(), () => new RemoteLog({}, dice(5))]) {
    const { channel, state } = make(makeLog)
    const ids = await Promise.all([1, 2, 3].map(async n => channel.publish({ data: n })))
    const { epoch } = state.logs[0]!.now
    t.strictSame(ids, [1, 2, 3].map(n => `${epoch}-${n}`))
    t.strictSame(await channel.position(), { epoch, oldest: 1, newest: 3, ended: false, id: `${epoch}-3` })
  }
})

t.test('R1: the position of a channel without events is an id to resume from', async t => {
  const { channel, state } = make()
  const { id } = await channel.position()
  t.equal(id, `${state.logs[0]!.now.epoch}-0`)
  await channel.publish({ data: 1 })
  t.match(await first(channel.subscribe({ after: id })), { data: 1 })
})

t.test('an invalid event rejects and is logged, and the promise may be ignored', async t => {
  const { channel, logged } = make()
  const rows: Array<[event: unknown, code: string]> = [
    [{ data: 1, id: 'mine' }, 'FST_SSE_PUBLISH'],
    [{ event: 'sse.gap', data: 1 }, 'FST_SSE_PUBLISH'],
    [{ data: undefined }, 'FST_SSE_DATA'],
    [{ event: 'a\nb', data: 1 }, 'FST_SSE_FIELD'],
    [{ data: 7n }, 'FST_SSE_SERIALIZE'],
    ['text', 'FST_SSE_PUBLISH'],
    [undefined, 'FST_SSE_PUBLISH']
  ]
  for (const [event, code] of rows) {
    const answer = channel.publish(event as { data: unknown })
    await turn()
    await t.rejects(answer, { code })
  }
  t.equal((await channel.position()).newest, 0)
  t.strictSame(logged.map(([call]) => call), rows.map(() => 'publish'))
  await channel.end()
  channel.publish({ data: 1 })
  await turn()
  await t.rejects(channel.publish({ data: 1 }), { code: 'FST_SSE_CHANNEL_ENDED' })
})

t.test('a log that rejects an append rejects publish, and the promise may be ignored', async t => {
  const { channel, state } = make()
  await channel.position()
  const error = new Error('full')
  state.logs[0]!.append = () => Promise.reject(error)
  const answer = channel.publish({ data: 1 })
  await turn()
  await t.rejects(answer, error)
})

t.test('a log that rejects the end rejects end(), and the promise may be ignored', async t => {
  const { channel, state, logged } = make()
  await channel.position()
  const error = new Error('evicted')
  state.logs[0]!.end = () => Promise.reject(error)
  const answer = channel.end()
  await turn()
  await t.rejects(answer, error)
  t.strictSame(logged, [['end', error]])
})

t.test('a log may answer with any thenable', async t => {
  const { channel, state } = make()
  const { epoch } = await channel.position()
  const log = state.logs[0]!
  const later = <T>(value: T): Promise<T> =>
    ({
      then: (resolve: (value: T) => void) => {
        setImmediate(resolve, value)
      }
    }) as Promise<T>
  const [append, readState, read] = [log.append.bind(log), log.state.bind(log), log.read.bind(log)]
  Object.assign(log, {
    append: (...args: Parameters<typeof append>) => later(append(...args)),
    state: () => later(readState()),
    read: (...args: Parameters<typeof read>) => later(read(...args))
  })
  t.equal(await channel.publish({ data: 1 }), `${epoch}-1`)
  t.match(await first(channel.subscribe({ start: 'earliest' })), { data: 1, id: `${epoch}-1` })
  await channel.publishFrom([{ data: 2 }])
  t.match(await channel.position(), { newest: 2, ended: true })
})

t.test('a channel is a source, and resolves nothing before it has a subscriber', async t => {
  const { channel, state } = make()
  t.equal(asChannelSources(channel)?.[0], channel)
  t.equal(state.found, 0)
  t.equal(channel.name, 'news')
})

t.test('R5: publish does not wait for subscribers', async t => {
  const { channel } = make()
  const loop = channel.subscribe()[Symbol.asyncIterator]()
  const first = loop.next()
  t.equal(channel.subscribers, 1)
  for (let n = 0; n < 500; n++) await channel.publish({ data: n })
  t.match(await first, { value: { data: 0 } })
  await loop.return!()
  t.equal(channel.subscribers, 0)
})

t.test('a channel that left memory is created again on the next use', async t => {
  const { channel, state } = make()
  const before = await channel.publish({ data: 1 })
  state.active[0]!.close()
  const after = await channel.publish({ data: 2 })
  t.equal(state.found, 2)
  t.match([before, after], [/-1$/, /-1$/])
  t.not(before, after, 'with another epoch')
  t.equal((await channel.position()).newest, 1)
  t.equal(state.found, 2)
  t.match(await first(channel.subscribe({ after: before })), { event: 'sse.reset', data: { reason: 'unknown' } })
})

t.test('a subscription uses the channel active at the time of use, not the one active when it was created', async t => {
  const { channel, state } = make()
  const subscription = channel.subscribe({ start: 'earliest' })
  await channel.publish({ data: 1 })
  state.active[0]!.close()
  await channel.publish({ data: 2 })
  t.match(await first(subscription), { data: 2 })
})

t.test('publishFrom publishes all events and ends the channel, which ends the loop of a subscriber', async t => {
  const { channel } = make()
  const seen: unknown[] = []
  const loop = (async () => { for await (const { data } of channel.subscribe()) seen.push(data) })()
  await channel.publishFrom([{ data: 1 }, { data: 2 }])
  await within('the end', loop)
  t.strictSame(seen, [1, 2])
  t.equal((await channel.position()).ended, true)
})

t.test('a value that is no source rejects, and the channel stays open', async t => {
  const { channel, logged } = make()
  for (const source of [5, undefined, null, {}]) {
    await t.rejects(channel.publishFrom(source as never), { code: 'FST_SSE_SOURCE' })
  }
  await t.rejects(channel.publishFrom(channel as never), {
    code: 'FST_SSE_SOURCE',
    message: /got a channel: read it with a loop over subscribe\(\)$/
  })
  t.strictSame(logged.map(([call]) => call), Array(5).fill('publishFrom'))
  t.match(await channel.publish({ data: 1 }), /-1$/)
  t.equal((await channel.position()).ended, false)
})

t.test('an iterator created before its channel left memory reads the new one', async t => {
  const { channel, state } = make()
  await channel.publish({ data: 1 })
  const it = channel.subscribe({ start: 'earliest' })[Symbol.asyncIterator]()
  state.active[0]!.close()
  await channel.publish({ data: 2 })
  t.match(await within('the first event', it.next()), { value: { data: 2 } })
  await it.return!()
})

t.test('L7: on a closed server calls reject instead of throwing, sources are disposed of, and there are no subscribers', async t => {
  for (const used of [true, false]) {
    const { channel, state } = make()
    if (used) await channel.publish({ data: 1 })
    state.closed = true
    state.active[0]?.close()
    const queue = new EventQueue<never, { data: unknown }>()
    const answers: Array<Promise<unknown>> = [channel.publish({ data: 1 }), channel.publishFrom(queue)]
    await turn()
    for (const answer of answers) await t.rejects(async () => answer, { code: 'FST_SSE_CLOSING', statusCode: 503 })
    await t.rejects(channel.position(), { code: 'FST_SSE_CLOSING' })
    t.equal(queue.signal.aborted, true)
    await channel.end()
    t.equal(channel.subscribers, 0)
    await t.rejects(channel.subscribe()[Symbol.asyncIterator]().next(), { code: 'FST_SSE_CLOSING' })
  }
})

t.test('R7: end(event) publishes the last event; an invalid one rejects, is logged, and the channel stays open', async t => {
  const { channel, logged } = make()
  const seen: unknown[] = []
  const loop = (async () => { for await (const { data } of channel.subscribe({ start: 'earliest' })) seen.push(data) })()
  await t.rejects(channel.end({ data: undefined }), { code: 'FST_SSE_DATA' })
  t.match(logged, [['end', { code: 'FST_SSE_DATA' }]])
  t.match(await channel.publish({ data: 'a' }), /-1$/)
  await channel.end({ data: 'last' })
  await within('the end', loop)
  t.strictSame(seen, ['a', 'last'])
  await channel.end({ data: 'late' })
  t.match(await channel.position(), { newest: 2, ended: true })
})

t.test('L7: on a closed server, end(event) rejects, and end() has no effect', async t => {
  const { channel, state } = make()
  state.closed = true
  await channel.end()
  await t.rejects(channel.end({ data: 1 }), { code: 'FST_SSE_CLOSING' })
})

t.test('members() rejects while the server closes, and `presence` is the channel of the resolver', async t => {
  const { channel } = make()
  await t.rejects(channel.members(), { code: 'FST_SSE_CLOSING' })
  t.equal(channel.presence, channel)
})
