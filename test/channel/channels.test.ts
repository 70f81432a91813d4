import { Type } from '@sinclair/typebox'
import type { FastifyBaseLogger } from 'fastify'
import t from 'tap'
import { Channels } from '../../lib/channel/channels.ts'
import type { ChannelOptions } from '../../lib/channel/settings.ts'
import { compileContract, freeContract } from '../../lib/contract/contract.ts'
import type { EventLog, EventLogFactory } from '../../lib/log/log.ts'
import { memoryLog } from '../../lib/log/memory.ts'
import { EventQueue } from '../../lib/source/event-queue.ts'
import { loadTypeBoxes } from '../../lib/schema/packages.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'
import { Statistics } from '../../lib/metrics/statistics.ts'

await loadTypeBoxes()

const compiler = schemaCompiler({})

/** Creates channels whose open logs are counted: a channel that left memory has closed its log. */
function make (tester: { teardown: (fn: () => unknown) => unknown }) {
  const memory = memoryLog()
  const state = { open: 0, opened: 0, closed: () => {}, logs: [] as EventLog[], swept: [] as string[] }
  const logged: Array<[fields: unknown, message: string]> = []
  const openLog: EventLogFactory = (name, history) => {
    const log = memory(name, history)
    const [close, idle] = [log.close.bind(log), log.isIdle.bind(log)]
    state.open++
    state.opened++
    state.logs.push(log)
    log.isIdle = () => {
      state.swept.push(name)
      return idle()
    }
    log.close = () => {
      state.open--
      close()
      state.closed()
    }
    return log
  }
  const channels = new Channels({
    eventLog: openLog,
    statistics: new Statistics(),
    log: {
      error: (...line: [unknown, string]) => {
        logged.push(line)
      },
      warn: () => {}
    } as unknown as FastifyBaseLogger,
    compile: (events, place) => events === undefined ? freeContract : compileContract(events, place, compiler)
  })
  tester.teardown(() => channels.close())
  /** Resolves when this number of logs is open; else the test times out. */
  const untilOpen = (count: number): Promise<void> => new Promise(resolve => {
    // The sweep timer keeps no process alive, this timer does.
    const alive = setInterval(() => {}, 1_000)
    state.closed = () => {
      if (state.open > count) return
      clearInterval(alive)
      resolve()
    }
    state.closed()
  })
  return { channels, state, untilOpen, logged }
}

const events = { message: Type.String() }
const latest = (): unknown => 1
const errorEvent = (): null => null

t.test('the same name with the same options is the same channel', async t => {
  const { channels, state } = make(t)
  const rows: Array<[ChannelOptions, ChannelOptions]> = [
    [{}, {}],
    [{}, {
      history: { maxEvents: 1_000, maxBytes: 1_048_576, maxAge: 300_000 },
      start: 'latest',
      slowConsumer: 'disconnect',
      events: undefined,
      errorEvent: undefined
    }],
    [{ events }, { events }],
    [{ history: { maxEvents: 5 } }, { history: { maxEvents: 5, maxBytes: undefined as unknown as number } }],
    [{ slowConsumer: { compactBy: latest }, errorEvent }, { slowConsumer: { compactBy: latest }, errorEvent }],
    [{ errorEvent: null, start: 'earliest' }, { errorEvent: null, start: 'earliest' }]
  ]
  for (const [index, [one, other]] of rows.entries()) {
    const channel = channels.channel(`channel ${index}`, one)
    t.equal(channels.channel(`channel ${index}`, one), channel)
    t.equal(channels.channel(`channel ${index}`, other), channel)
    t.equal(channel.name, `channel ${index}`)
  }
  t.equal(channels.channel('plain'), channels.channel('plain'))
  t.equal(state.opened, rows.length + 1)
})

t.test('the same name with other options is FST_SSE_CHANNEL_OPTIONS with the first option that differs', async t => {
  const { channels } = make(t)
  const rows: Array<[ChannelOptions, ChannelOptions, string]> = [
    [{}, { history: { maxEvents: 5 } }, 'history.maxEvents'],
    [{}, { history: { maxBytes: 5 } }, 'history.maxBytes'],
    [{ history: { maxAge: Infinity } }, {}, 'history.maxAge'],
    [{}, { events }, 'events'],
    [{ events }, { events: { ...events } }, 'events'],
    [{}, { start: 'earliest' }, 'start'],
    [{}, { slowConsumer: 'skip' }, 'slowConsumer'],
    [{ slowConsumer: { compactBy: latest } }, { slowConsumer: { compactBy: () => 1 } }, 'slowConsumer'],
    [{ slowConsumer: { compactBy: latest } }, {}, 'slowConsumer'],
    [{}, { errorEvent: null }, 'errorEvent'],
    [{ errorEvent }, { errorEvent: () => null }, 'errorEvent']
  ]
  for (const [index, [one, other, option]] of rows.entries()) {
    const channel = channels.channel(`channel ${index}`, one)
    t.throws(() => channels.channel(`channel ${index}`, other), {
      code: 'FST_SSE_CHANNEL_OPTIONS',
      message:
        `The channel 'channel ${index}' exists with another '${option}': create the options once, outside the handler, and pass the same values everywhere`
    })
    t.equal(channels.channel(`channel ${index}`, one), channel)
  }
})

t.test('a bad name or option creates no channel', async t => {
  const { channels, state } = make(t)
  for (const name of [undefined, null, 5, '', 'a\nb', 'a\u0000', 'x'.repeat(513), {}]) {
    t.throws(() => channels.channel(name as string), { code: 'FST_SSE_OPTION', message: /^Option 'name' must be / })
  }
  for (const options of [null, 5, [], 'x', { history: 5 }, { start: 'x' }, { capacity: 5 }]) {
    t.throws(() => channels.channel('name', options as ChannelOptions), { code: 'FST_SSE_OPTION' })
  }
  t.throws(() => channels.channel('name', { events: {} }), { code: 'FST_SSE_MAP', message: /^channel 'name': / })
  t.equal(state.opened, 0)
  for (const name of ['x'.repeat(512), 'né:/ {}', '__proto__', 'constructor']) {
    t.equal(channels.channel(name), channels.channel(name))
  }
})

// Leaving memory

const brief = { history: { maxAge: 20 } }

t.test('an idle channel leaves memory, and the same handle creates it again with another epoch', async t => {
  const { channels, state, untilOpen } = make(t)
  const channel = channels.channel('brief', brief)
  const before = await channel.publish({ data: 1 })
  await untilOpen(0)
  const after = await channel.publish({ data: 2 })
  t.match(after, /-1$/)
  t.not(after.split('-')[0], before.split('-')[0])
  t.equal(state.opened, 2)
  t.equal(channels.channel('brief', brief), channel)
  await untilOpen(0)
})

t.test('R2: a channel stays while its history may be requested', async t => {
  const { channels, untilOpen } = make(t)
  const channel = channels.channel('brief', { history: { maxAge: 200 } })
  const id = await channel.publish({ data: 1 })
  const published = performance.now()
  const other = channels.channel('other', brief)
  await other.publish({ data: 1 })
  await untilOpen(1)
  if (performance.now() - published < 150) t.equal((await channel.position()).id, id)
  await untilOpen(0)
  t.ok(performance.now() - published >= 199)
})

t.test('R2: the position of a channel without events is valid for as long as one with events', async t => {
  const { channels, untilOpen } = make(t)
  const [channel, other] = [channels.channel('empty', { history: { maxAge: 10_000 } }),
    channels.channel('other', brief)]
  const { epoch } = await channel.position()
  await other.publish({ data: 1 })
  await untilOpen(1)
  t.equal((await channel.position()).epoch, epoch)
})

t.test('a channel with a subscriber or a producer stays at any age', async t => {
  const { channels, state, untilOpen } = make(t)
  const subscribed = channels.channel('subscribed', brief)
  const produced = channels.channel('produced', brief)
  const other = channels.channel('other', brief)
  const loop = subscribed.subscribe()[Symbol.asyncIterator]()
  const next = loop.next()
  const queue = new EventQueue<never, { data: unknown }>()
  const consumed = produced.publishFrom(queue)
  const epochs = await Promise.all([subscribed, produced].map(async channel => (await channel.position()).epoch))
  await other.publish({ data: 1 })
  await untilOpen(2)
  await other.publish({ data: 1 })
  await untilOpen(2)
  t.strictSame(await Promise.all([subscribed, produced].map(async channel => (await channel.position()).epoch)), epochs)
  t.equal(state.opened, 4)
  await loop.return!()
  t.same(await next, { done: true, value: undefined })
  queue.end()
  await consumed
  await untilOpen(0)
})

t.test('R7: an ended run stays for late subscribers as long as its history, and its producer is not started again', async t => {
  const { channels, untilOpen } = make(t)
  const run = channels.channel('run', { history: { maxAge: 10_000 }, start: 'earliest' })
  await run.publishFrom([{ data: 1 }])
  const other = channels.channel('other', brief)
  await other.publish({ data: 1 })
  await untilOpen(1)
  await run.publishFrom(() => {
    t.fail('started again')
    return []
  })
  const seen: unknown[] = []
  for await (const { data } of run.subscribe()) seen.push(data)
  t.same(seen, [1])
})

t.test('a name that left memory may get other options; the old handle then rejects', async t => {
  const { channels, untilOpen } = make(t)
  const old = channels.channel('name', brief)
  await old.publish({ data: 1 })
  await untilOpen(0)
  const renamed = channels.channel('name', { start: 'earliest' })
  await renamed.publish({ data: 1 })
  const answers: Array<Promise<unknown>> = [old.publish({ data: 2 }), old.publishFrom([])]
  for (const answer of answers) await t.rejects(async () => answer, { code: 'FST_SSE_CHANNEL_OPTIONS' })
  t.equal((await renamed.position()).newest, 1)
  t.equal(old.subscribers, 0)
  const loop = renamed.subscribe()[Symbol.asyncIterator]()
  loop.next()
  t.equal(old.subscribers, 0, 'the subscribers of another channel are not counted')
  t.equal(renamed.subscribers, 1)
  await loop.return!()
})

t.test('reading the number of subscribers creates no channel', async t => {
  const { channels, state, untilOpen } = make(t)
  const channel = channels.channel('brief', brief)
  await channel.publish({ data: 1 })
  await untilOpen(0)
  t.equal(channel.subscribers, 0)
  t.equal(state.opened, 1)
})

t.test('a channel is swept as often as its own age requires, independently of others', async t => {
  const { channels, state, untilOpen } = make(t)
  const old = channels.channel('old', { history: { maxAge: 3_600_000 } })
  await old.publish({ data: 1 })
  for (let n = 0; n < 10; n++) {
    await channels.channel(`brief ${n}`, brief).publish({ data: 1 })
    await untilOpen(1)
  }
  t.ok(state.swept.length >= 10)
  t.notOk(state.swept.includes('old'))
})

t.test('a log that throws in isIdle or close is logged, and the other channels leave memory', async t => {
  const { channels, state, untilOpen, logged } = make(t)
  const failing = channels.channel('failing', brief)
  await failing.publish({ data: 1 })
  const [idle, close] = [new Error('idle'), new Error('close')]
  const log = state.logs[0]!
  log.isIdle = () => { throw idle }
  await channels.channel('brief', brief).publish({ data: 1 })
  await untilOpen(1)
  t.same(logged[0], [{ err: idle, channel: 'failing' }, 'sse log failed'])
  log.isIdle = () => true
  log.close = () => {
    state.open--
    state.closed()
    throw close
  }
  await untilOpen(0)
  t.same(logged.at(-1), [{ err: close, channel: 'failing' }, 'sse log failed'])
  const times = logged.length
  await channels.channel('last', brief).publish({ data: 1 })
  state.logs.at(-1)!.close = () => { throw close }
  channels.close()
  t.equal(logged.length, times + 1)
})

t.test('30,000 short-lived names leave nothing in memory', async t => {
  const { channels, state, untilOpen } = make(t)
  const options = { events, history: { maxEvents: 10, maxAge: 1 } }
  let most = 0
  for (let n = 0; n < 30_000; n++) {
    channels.channel(`user ${n}`, options).publish({ data: 'x' })
    most = Math.max(most, state.open)
    if (n % 2_000 === 0) await new Promise(resolve => setTimeout(resolve, 1))
  }
  await untilOpen(0)
  t.equal(state.opened, 30_000)
  t.ok(most < 30_000, 'channels leave memory while others are created')
})

t.test('the sweep timer keeps no process alive, and is cleared with the last channel', async t => {
  const { channels, untilOpen } = make(t)
  const timers = (): number => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const before = timers()
  await channels.channel('brief', brief).publish({ data: 1 })
  channels.channel('other', { history: { maxAge: 1 } })
  t.equal(timers(), before)
  await untilOpen(0)
  t.equal(timers(), before)
})

t.test('L7: close closes all channels, and none can be created', async t => {
  const { channels, state } = make(t)
  const [one, other] = [channels.channel('one'), channels.channel('other')]
  await one.publish({ data: 1 })
  const next = other.subscribe()[Symbol.asyncIterator]().next()
  channels.close()
  t.equal(state.open, 0)
  t.same(await next, { done: true, value: undefined })
  for (const name of ['one', 'new']) {
    const late = channels.channel(name)
    t.equal(late.name, name)
    await t.rejects(late.publish({ data: 1 }), { code: 'FST_SSE_CLOSING' })
    await t.rejects(late.position(), { code: 'FST_SSE_CLOSING' })
    await late.end()
  }
  t.throws(() => channels.channel('new', { start: 'middle' } as never), { code: 'FST_SSE_OPTION' },
    'invalid options are rejected after the close, too')
  t.equal(channels.find('new'), undefined)
  await t.rejects(one.publish({ data: 2 }), { code: 'FST_SSE_CLOSING' })
  t.equal(other.subscribers, 0)
  t.equal(state.open, 0)
  channels.close()
})

t.test('R10: reserved and invalid names create no channel', async t => {
  const { channels, state } = make(t)
  for (const name of ['sse.control', 'sse.', 'a\nb', '', undefined, null, 5]) {
    t.throws(() => channels.channel(name as string), { code: 'FST_SSE_OPTION' })
    t.throws(() => channels.find(name as string), { code: 'FST_SSE_OPTION', message: /^Option 'name' must be / })
  }
  t.throws(() => channels.find('sse.control'), { message: /which is reserved/ })
  t.equal(state.opened, 0)
})

t.test('find() returns the channel in memory, with any options, and creates none', async t => {
  const { channels, state } = make(t)
  t.equal(channels.find('made elsewhere'), undefined)
  t.equal(state.opened, 0)
  const channel = channels.channel('made elsewhere', { events, start: 'earliest' })
  t.equal(channels.find('made elsewhere'), channel)
})

t.test('a step on the log of a name uses the channel in memory, else a log that is closed after it', async t => {
  const { channels, state } = make(t)
  const a = { name: 'a', history: { maxEvents: 1, maxBytes: 1_000, maxAge: 1_000 }, eventLog: undefined }
  let seen: EventLog | undefined
  t.equal(await channels.withLog(a, log => {
    seen = log
    t.equal(state.open, 1)
    return 7
  }), 7)
  t.equal(state.open, 0)
  t.equal(channels.find('a'), undefined)
  await t.rejects(channels.withLog(a, () => { throw new Error('no') }), { message: 'no' })
  t.equal(state.open, 0)
  const active = channels.active('a', {})
  t.equal(channels.active('a', {}), active)
  await channels.withLog(a, log => { seen = log })
  t.equal(seen, active.feed.log)
  t.equal(state.open, 1)
  channels.active('ab', {})
  t.strictSame(channels.withPrefix('a').map(({ settings: { name } }) => name), ['a', 'ab'])
  t.strictSame(channels.withPrefix('ab'), [channels.active('ab', {})])
  t.throws(() => channels.active('a', { start: 'earliest' }), { code: 'FST_SSE_CHANNEL_OPTIONS' })
  channels.close()
  t.throws(() => channels.active('a', {}), { code: 'FST_SSE_CLOSING' })
  await t.rejects(channels.withLog(a, () => 7), { code: 'FST_SSE_CLOSING' })
})

t.test('all event logs are released once, also those of channels, and a failure is logged', async t => {
  const released: string[] = []
  const failure = new Error('release')
  const logOf = (name: string, release: () => void | Promise<void>): EventLogFactory =>
    Object.assign((...args: Parameters<EventLogFactory>) => memoryLog()(...args), {
      close: () => {
        released.push(name)
        return release()
      }
    })
  const logged: unknown[] = []
  const channels = new Channels({
    eventLog: logOf('registration', () => { throw failure }),
    statistics: new Statistics(),
    log: { error: (...line: unknown[]) => { logged.push(line) }, warn: () => {} } as unknown as FastifyBaseLogger,
    compile: () => freeContract
  })
  const own = { eventLog: logOf('channel', async () => {}) }
  for (const name of ['a', 'b']) channels.channel(name, own)
  channels.channel('c', { eventLog: memoryLog() })
  channels.close()
  await channels.closeLogs()
  t.strictSame(released, ['registration', 'channel'])
  t.same(logged, [[{ err: failure }, 'sse log failed']])
})

t.test('a rejected call for a channel or a family leaves no event log behind', async t => {
  const { channels } = make(t)
  channels.channel('news')
  const released: string[] = []
  const eventLog: EventLogFactory = Object.assign((...args: Parameters<EventLogFactory>) => memoryLog()(...args), {
    close: () => { released.push('rejected') }
  })
  t.throws(() => channels.channel('news', { eventLog }), { code: 'FST_SSE_CHANNEL_OPTIONS' })
  t.throws(() => channels.channel('other', { eventLog, events: {} }), { code: 'FST_SSE_MAP' })
  t.throws(() => channels.family('jobs', { eventLog, events: {} }), { code: 'FST_SSE_MAP' })
  channels.close()
  await channels.closeLogs()
  t.strictSame(released, [])
})

t.test('locate() after the close asks no log: it could open a file that nothing closes', async t => {
  const asked: string[] = []
  const channels = new Channels({
    eventLog: Object.assign(memoryLog(), { locate: (epoch: string) => { asked.push(epoch) } }),
    statistics: new Statistics(),
    log: { error: () => {}, warn: () => {} },
    compile: () => freeContract
  })
  t.strictSame(await channels.locate(['a']), [undefined])
  channels.close()
  await t.rejects(channels.locate(['b']), { code: 'FST_SSE_CLOSING' })
  t.strictSame(asked, ['a'])
})

t.test('seal() rejects later calls, and the calls under way continue', async t => {
  const { channels } = make(t)
  const news = channels.channel('news', { events })
  let next: () => void = () => {}
  const turn = new Promise<void>(resolve => { next = resolve })
  const source = news.publishFrom(async function * () {
    yield { data: 'one' }
    await turn
    yield { data: 'two' }
  })
  const received: unknown[] = []
  const loop = (async () => { for await (const { data } of news.subscribe({ start: 'earliest' })) received.push(data) })()
  await news.position()
  channels.seal()
  await t.rejects(news.publish({ data: 'late' }), { code: 'FST_SSE_CLOSING' })
  await t.rejects(channels.channel('other').publish({ data: 1 }), { code: 'FST_SSE_CLOSING' })
  next()
  await source
  await loop
  t.strictSame(received, ['one', 'two'])
})
