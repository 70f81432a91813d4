import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { Readable } from 'node:stream'
import { Type } from '@sinclair/typebox'
import type { FastifyBaseLogger } from 'fastify'
import t from 'tap'
import { resolveChannel, type ChannelOptions } from '../../lib/channel/settings.ts'
import { ActiveChannel } from '../../lib/channel/active-channel.ts'
import { compileContract, freeContract } from '../../lib/contract/contract.ts'
import type { EventMap } from '../../lib/contract/event-types.ts'
import type { EventLog, LogBatch } from '../../lib/log/log.ts'
import { memoryLog } from '../../lib/log/memory.ts'
import { EventQueue } from '../../lib/source/event-queue.ts'
import { loadTypeBoxes } from '../../lib/schema/packages.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'
import { Statistics } from '../../lib/metrics/statistics.ts'
import { liftLoopBudget } from '../setup/loop-budget.ts'
import { dice, RemoteLog } from '../setup/remote-log.ts'
import { oddities } from '../setup/oddities.ts'
import { within } from '../setup/within.ts'

await loadTypeBoxes()

const events = { message: Type.String(), count: Type.Object({ n: Type.Integer() }) }

function make (options: ChannelOptions = {}, log: EventLog = new RemoteLog()) {
  const lines: Array<[level: string, message: string, error: unknown]> = []
  const note = (level: string) => ({ err }: { err: unknown }, message: string) => { lines.push([level, message, err]) }
  const channel = new ActiveChannel({
    settings: resolveChannel('runs', options),
    contract: options.events === undefined
      ? freeContract
      : compileContract(options.events, "channel 'runs'", schemaCompiler({})),
    statistics: new Statistics(),
    eventLog: () => log,
    log: { error: note('error'), warn: note('warn') } as unknown as FastifyBaseLogger
  })
  return { channel, log, lines }
}

/** Returns all entries of a log, as name and data. */
async function storedEvents (log: EventLog): Promise<string[]> {
  return (await log.read(0, 1_000)).entries.map(({ event, data }) => `${event} ${data}`)
}

const reader = { deliver: () => {}, onStateChange: () => {}, close: () => {} }
const logs: Array<[kind: string, make: () => EventLog]> = [['here', () => new RemoteLog()], ['elsewhere',
  () => new RemoteLog({}, dice(3))]]

t.test('the log is opened with the channel\'s name and history limits', async t => {
  const settings = resolveChannel('runs', { history: { maxEvents: 5 } })
  const opened: unknown[] = []
  const channel = new ActiveChannel({
    settings,
    contract: freeContract,
    statistics: new Statistics(),
    eventLog: (...args) => {
      opened.push(args)
      return new RemoteLog()
    },
    log: {} as FastifyBaseLogger
  })
  t.strictSame(opened, [['runs', { maxEvents: 5, maxBytes: 1_048_576, maxAge: 300_000 }]])
  t.equal(channel.settings, settings)
  t.equal(channel.open, true)
})

t.test('C4: an event is validated and serialized once; an invalid event throws and gets no offset', async t => {
  const { channel, log } = make({ events: events as EventMap })
  const first = await channel.append({ event: 'count', data: { n: 1, secret: 1 } })
  for (const bad of [{ event: 'count', data: { n: 'x' } }, { event: 'cuont', data: 1 }, { data: 'x', id: 'mine' },
    null]) t.throws(() => channel.append(bad), { code: /^FST_SSE_(DATA|UNKNOWN_EVENT|PUBLISH|EVENT)$/ })
  t.equal(await channel.append({ data: 'text' }), first.replace(/1$/, '2'))
  t.strictSame(await storedEvents(log), ['count {"n":1}', 'message text'])
  t.match(await channel.state(), { epoch: first.split('-')[0], oldest: 1, newest: 2, ended: false })
})

for (const [where, makeLog] of logs) {
  t.test(`R7: all events of a source are in the log, then its end; a log ${where}`, async t => {
    const { channel, log, lines } = make({}, makeLog())
    await within('the end', channel.publishFrom((async function * () {
      for (let n = 1; n <= 100; n++) yield { data: n }
    })()))
    t.strictSame(await storedEvents(log), Array.from({ length: 100 }, (_, index) => `message ${index + 1}`))
    t.match(await channel.state(), { newest: 100, ended: true })
    t.strictSame(lines, [])
  })

  t.test(`E2: a source that fails rejects, is logged, and its problem is the last event; a log ${where}`, async t => {
    const error = new Error('secret')
    const { channel, log, lines } = make({ events: events as EventMap }, makeLog())
    await t.rejects(within('the end', channel.publishFrom((async function * () {
      yield { data: 'one' }
      throw error
    })())), error)
    t.strictSame(await storedEvents(log), ['message one',
      'error {"type":"about:blank","title":"Internal Server Error","status":500}'])
    t.equal((await channel.state()).ended, true)
    t.strictSame(lines, [['error', 'sse producer failed', error]])
  })

  t.test(`R7: the end stops the source and resolves its promise; a log ${where}`, async t => {
    const { channel, log, lines } = make({}, makeLog())
    const queue = new EventQueue()
    const consumed = channel.publishFrom(queue)
    await queue.push({ data: 1 })
    await turn()
    await within('the end', channel.end())
    await within('the producer', consumed)
    t.equal(queue.signal.aborted, true)
    t.equal(await queue.push({ data: 2 }), false)
    t.equal((await channel.state()).ended, true)
    t.strictSame(await storedEvents(log), ['message 1'])
    t.strictSame(lines, [])
  })

  t.test(`R7: the end in the middle of a list whose events are under way is no failure; a log ${where}`, async t => {
    const { channel, lines } = make({}, makeLog())
    const consumed = channel.publishFrom(Array.from({ length: 500 }, (_, index) => ({ data: index })))
    await turn()
    await within('the end', channel.end())
    await within('the producer', consumed)
    await turn()
    t.strictSame(lines, [])
  })

  t.test(`R7: an ended channel disposes of a source without starting it; a log ${where}`, async t => {
    const { channel, lines } = make({}, makeLog())
    await channel.end()
    const queue = new EventQueue()
    await within('the answer', channel.publishFrom(queue))
    t.equal(queue.signal.aborted, true)
    t.strictSame(lines, [])
    const { channel: other } = make({}, makeLog())
    await other.end()
    await within('the answer', other.publishFrom(() => t.fail('called')))
  })
}

/** Returns a source that yields no event, and records when and why it was stopped. */
function silent () {
  const stopped: unknown[] = []
  const source = async function * ({ signal }: { signal: AbortSignal }): AsyncGenerator<unknown> {
    try {
      await once(signal, 'abort')
      signal.throwIfAborted()
      yield { data: 'never' }
    } finally {
      stopped.push(signal.reason)
    }
  }
  return { source, stopped }
}

for (const [where, makeLog] of logs) {
  t.test(`R7: the end of the log by another node stops the source, as an end by this node does; a log ${where}`, async t => {
    const log = makeLog() as RemoteLog
    const { channel, lines } = make({}, log)
    const { source, stopped } = silent()
    const consumed = channel.publishFrom(source)
    await log.state()
    await turn()
    t.equal(log.listeners, 1, 'the log is tailed while the producer runs')
    await log.end()
    await within('the producer', consumed)
    while (stopped.length === 0) await turn()
    t.match(stopped, [{ name: 'AbortError', reason: 'channel-ended' }])
    t.equal(log.listeners, 0)
    t.equal(channel.isIdle(), true)
    t.strictSame(lines, [])
  })

  t.test(`R7: a source with events under way when another node ends the log is stopped without a failure; a log ${where}`, async t => {
    for (const source of [
      () => Array.from({ length: 5_000 }, (_, index) => ({ data: index })),
      async function * ({ signal }: { signal: AbortSignal }) { for (let n = 0; !signal.aborted; n++) yield { data: n } }
    ]) {
      const log = makeLog() as RemoteLog
      const { channel, lines } = make({}, log)
      const consumed = channel.publishFrom(source)
      await log.state()
      await turn()
      await log.end()
      await within('the producer', consumed)
      await turn()
      t.strictSame(lines, [])
      t.equal(log.listeners, 0)
      t.equal(log.now.ended, true)
    }
  })

  t.test(`R7: the tail is removed when the source is done, when it fails and when the channel closes; a log ${where}`, async t => {
    const ways: Array<(channel: ActiveChannel) => Promise<unknown>> = [
      channel => channel.publishFrom([{ data: 1 }]),
      channel => channel.publishFrom(() => { throw new Error('mine') }).catch(() => {}),
      async channel => {
        const consumed = channel.publishFrom(new EventQueue())
        await channel.end()
        await consumed
      },
      async channel => {
        const consumed = channel.publishFrom(new EventQueue())
        channel.close()
        await consumed
      }
    ]
    for (const way of ways) {
      const log = makeLog() as RemoteLog
      await within('the end', way(make({}, log).channel))
      t.equal(log.listeners, 0)
    }
  })

  t.test(`R8: a log with a new epoch stops no source: its events are in the new epoch, whose end is noticed; a log ${where}`, async t => {
    const log = makeLog() as RemoteLog
    const { channel, lines } = make({}, log)
    const queue = new EventQueue()
    const consumed = channel.publishFrom(queue)
    await queue.push({ data: 1 })
    await log.state()
    await log.lose()
    await log.state()
    await queue.push({ data: 2 })
    while (log.now.newest === 0) await turn()
    t.strictSame(await storedEvents(log), ['message 2'])
    t.equal(queue.signal.aborted, false)
    await log.end()
    await within('the producer', consumed)
    t.equal(queue.signal.aborted, true)
    t.strictSame(lines, [])
  })
}

t.test('R7: a source that ends or fails while another node ends the log settles once, and nothing is written after the end', async t => {
  const error = new Error('mine')
  for (const fails of [false, true]) {
    for (let seed = 1; seed <= 20; seed++) {
      const log = new RemoteLog({}, dice(seed))
      const { channel, lines } = make({}, log)
      const queue = new EventQueue<never, { data: number }>()
      const consumed = channel.publishFrom(async function * () {
        yield * queue
        if (fails) throw error
      })
      await queue.push({ data: 1 })
      for (let turns = seed % 5; turns > 0; turns--) await turn()
      queue.end()
      const { newest } = log.now
      const over = log.end()
      const outcome = await within('the producer', consumed.then(() => undefined, (thrown: unknown) => thrown))
      await over
      await log.delivered
      if (fails) t.ok(outcome === undefined || outcome === error)
      else t.equal(outcome, undefined)
      t.ok(log.now.newest >= newest)
      t.notOk(lines.some(([, message]) => message === 'sse error event could not be made'))
      t.equal(log.listeners, 0)
    }
  }
})

t.test('R7: an append that is rejected because the channel has ended stops the producer, without the tail', async t => {
  for (const makeLog of [() => new RemoteLog(), () => new RemoteLog({}, dice(5))]) {
    const log = makeLog()
    log.tail = () => () => {}
    const { channel, lines } = make({}, log)
    const queue = new EventQueue<never, { data: number }>()
    const consumed = channel.publishFrom(queue)
    await queue.push({ data: 1 })
    while (log.now.newest === 0) await turn()
    await log.end()
    t.equal(queue.signal.aborted, false)
    queue.push({ data: 2 })
    await within('the producer', consumed)
    t.equal(queue.signal.aborted, true)
    t.strictSame(lines, [])
    await t.rejects(async () => channel.append({ data: 3 }), { code: 'FST_SSE_CHANNEL_ENDED' }, 'publish rejects')
  }
})

t.test('R7: an end before the first answer of the log disposes of the source at once, without starting it', async t => {
  for (const end of [(channel: ActiveChannel) => channel.end(), (_channel: ActiveChannel, log: RemoteLog) => log.end(),
    (channel: ActiveChannel) => channel.close()]) {
    for (const fails of [false, true]) {
      const log = new RemoteLog()
      let answer!: () => void
      const state = log.state.bind(log)
      log.state = async () => {
        await new Promise<void>(resolve => { answer = resolve })
        if (fails) throw new Error('too late')
        return state()
      }
      const { channel, lines } = make({}, log)
      const queue = new EventQueue()
      const consumed = channel.publishFrom(queue)
      await end(channel, log)
      await within('the producer', consumed)
      t.equal(queue.signal.aborted, true)
      answer()
      await turn()
      t.strictSame(lines, [])
      t.equal(log.listeners, 0)
    }
  }
})

t.test('a source is disposed of if the log cannot tell whether the channel has ended', async t => {
  const log = new RemoteLog()
  const error = new Error('the store is gone')
  log.state = async () => { throw error }
  const queue = new EventQueue()
  await t.rejects(within('the answer', make({}, log).channel.publishFrom(queue)), error)
  t.equal(queue.signal.aborted, true)
})

t.test('R7: a second source is disposed of without being started, and gets the promise of the first', async t => {
  const { channel } = make()
  let returned = 0
  const first = channel.publishFrom(async function * () { yield { data: 1 } })
  const queue = new EventQueue()
  const others = [
    channel.publishFrom(queue),
    channel.publishFrom(() => t.fail('called')),
    channel.publishFrom({
      [Symbol.asyncIterator]: () => ({
        next: () => t.fail('read'),
        return: () => {
          returned++
        }
      })
    })
  ]
  for (const other of others) t.equal(other, first)
  t.equal(queue.signal.aborted, true)
  t.equal(returned, 1)
  await within('the end', first)
  t.equal(channel.publishFrom([]), first, 'also after the end')
})

t.test('R7: the same source again is not a second one', async t => {
  const { channel, log } = make()
  async function * slowly (): AsyncGenerator<unknown> {
    for (let n = 1; n <= 3; n++) {
      await turn()
      yield { data: n }
    }
  }
  for (const source of [slowly(), Readable.from(slowly())]) {
    const other = make()
    const first = other.channel.publishFrom(source)
    await turn()
    t.equal(other.channel.publishFrom(source), first)
    await within('the end', first)
    t.strictSame(await storedEvents(other.log), ['message 1', 'message 2', 'message 3'])
  }
  t.strictSame(await storedEvents(log), [])
  t.equal(channel.isIdle(), true)
})

t.test('a log that throws when a producer starts rejects it, and the next one as well', async t => {
  const { channel, log } = make()
  const error = new Error('not there')
  log.state = () => {
    throw error
  }
  for (let times = 0; times < 2; times++) {
    await t.rejects(within('the answer', channel.publishFrom([{ data: 1 }])), error)
  }
})

t.test('E2: a channel is not idle while its last event is created', async t => {
  const log = Object.assign(new RemoteLog(), { isIdle: () => true })
  let settle!: (event: unknown) => void
  let channel!: ActiveChannel
  const asked = new Promise<void>(resolve => {
    const errorEvent = (): unknown => {
      resolve()
      return new Promise(resolve => { settle = resolve })
    }
    channel = make({ errorEvent: errorEvent as never }, log).channel
  })
  const consumed = channel.publishFrom(async function * () { throw new Error('failed') })
  await asked
  t.equal(channel.isIdle(), false)
  settle({ event: 'message', data: 'sorry' })
  await t.rejects(within('the end', consumed), { message: 'failed' })
  t.equal(channel.isIdle(), true)
  t.strictSame(await storedEvents(log), ['message sorry'])
})

const failures: Array<[what: string, errorEvent: ChannelOptions['errorEvent'], last: string[], logged: string[]]> = [
  ['null', null, [], ['sse producer failed']],
  ['a function that returns null', () => null, [], ['sse producer failed']],
  ['an event of the map', error => ({ event: 'message', data: error.message }), ['message mine'], [
    'sse producer failed'
  ]],
  ['an event outside the map', () => ({ event: 'error', data: { code: 7 } }), ['error {"code":7}'], [
    'sse producer failed'
  ]],
  ['an invalid event', () => ({ event: 'count', data: { n: 'x' } }), [], ['sse producer failed',
    'sse error event could not be made']],
  ['a reserved event', () => ({ event: 'sse.gap', data: 1 }) as never, [], ['sse producer failed',
    'sse error event could not be made']],
  ['a function that throws', () => {
    throw new Error('errorEvent failed')
  }, [], ['sse producer failed', 'sse error event could not be made']],
  ['a function that returns a promise', (async () => ({ event: 'message', data: 'later' })) as never, ['message later'],
    ['sse producer failed']]
]
for (const [what, errorEvent, last, logged] of failures) {
  t.test(`E2: if errorEvent is ${what}, the channel still ends, and the promise rejects with the error of the source`, async t => {
    const error = new Error('mine')
    const { channel, log, lines } = make({ events: events as EventMap, errorEvent })
    await t.rejects(channel.publishFrom(() => { throw error }), error)
    t.strictSame(await storedEvents(log), last)
    t.equal((await channel.state()).ended, true)
    t.strictSame(lines.map(([, message]) => message), logged)
  })
}

t.test('L12: a last event whose promise never settles does not block the channel', async t => {
  const error = new Error('mine')
  const { channel, log, lines } = make({ errorEvent: () => new Promise(() => {}) as never })
  await t.rejects(within('the end', channel.publishFrom(() => { throw error })), error)
  t.strictSame(await storedEvents(log), [])
  t.equal((await channel.state()).ended, true)
  t.match(lines[1], ['error', 'sse error event could not be made', { code: 'FST_SSE_REAUTHORIZE_TIMEOUT' }])
})

t.test('E2: any value that a producer throws ends the channel', async t => {
  for (const [what, thrown] of oddities()) {
    const { channel } = make()
    const failed = await within(what, channel.publishFrom(() => { throw thrown }).then(() => false, () => true))
    t.ok(failed, what)
    t.equal((await channel.state()).ended, true, what)
  }
})

t.test('E2: an error made for the client keeps its text, and a thrown value need not be an error', async t => {
  const { channel, log } = make()
  await t.rejects(channel.publishFrom(() => {
    throw Object.assign(new Error('no such order'), { statusCode: 404 })
  }))
  t.strictSame(await storedEvents(log), [
    'error {"type":"about:blank","title":"Not Found","status":404,"detail":"no such order"}'
  ])
  const { channel: other, lines } = make()
  const rejected: unknown = await other.publishFrom(async function * () {
    yield { data: 1 }
    // eslint-disable-next-line no-throw-literal
    throw 'text'
  }).then(() => 'fulfilled', (thrown: unknown) => thrown)
  t.equal(rejected, 'text')
  t.match(lines, [['error', 'sse producer failed', { message: 'The source threw "text" (string)', cause: 'text' }]])
})

t.test('C2: an invalid event is thrown into the producer, which may continue', async t => {
  const { channel, log } = make({ events: events as EventMap })
  await channel.publishFrom(async function * () {
    try {
      yield { event: 'count', data: { n: 'x' } }
    } catch (error) {
      yield { data: (error as { code: string }).code }
    }
  })
  t.strictSame(await storedEvents(log), ['message FST_SSE_DATA'])
})

t.test('a log that fails rejects the producer and the end, and no promise stays pending', async t => {
  const error = new Error('the store is gone')
  const fail = async (): Promise<never> => { throw error }
  for (const method of ['append', 'end', 'state'] as const) {
    const log = new RemoteLog()
    log[method] = fail
    const { channel } = make({}, log)
    await t.rejects(within(method, channel.publishFrom([{ data: 1 }])), error, method)
  }
  const log = new RemoteLog()
  log.end = fail
  const { channel } = make({}, log)
  const consumed = channel.publishFrom(new EventQueue())
  await t.rejects(channel.end(), error)
  await within('the producer', consumed.catch(() => {}))
})

t.test('an ignored failure is no unhandled rejection', async t => {
  const { channel, lines } = make()
  channel.publishFrom(() => { throw new Error('mine') })
  for (let turns = 0; turns < 3; turns++) await turn()
  t.equal(lines.length, 1)
})

t.test('an error that a source throws during its cleanup is logged, except an abort', async t => {
  for (const [error, logged] of [[new Error('mine'), 1], [Object.assign(new Error('stop'), { name: 'AbortError' }),
    0]] as const) {
    const { channel, lines } = make()
    channel.publishFrom({
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise(() => {}),
        return: async () => {
          throw error
        }
      })
    })
    await channel.end()
    await turn()
    t.strictSame(lines, logged === 0 ? [] : [['error', 'sse source failed after its channel ended', error]])
  }
})

t.test('a channel is idle without a producer and without readers, if its log is idle', async t => {
  const { channel, log } = make()
  let logIdle = true
  log.isIdle = () => logIdle
  t.equal(channel.isIdle(), true)
  logIdle = false
  t.equal(channel.isIdle(), false)
  logIdle = true
  channel.feed.add(reader)
  let asked = 0
  log.isIdle = () => ++asked > 0
  t.equal(channel.isIdle(), false)
  t.equal(asked, 1, 'the log may evict old entries')
  channel.feed.remove(reader)
  t.equal(channel.isIdle(), true)
  const queue = new EventQueue()
  const consumed = channel.publishFrom(queue)
  t.equal(channel.isIdle(), false)
  queue.end()
  await consumed
  t.equal(channel.isIdle(), true)
})

t.test('L7: closing stops the producer, notifies the readers, closes the log and writes nothing', async t => {
  const { channel, log } = make()
  const calls: string[] = []
  log.close = () => { calls.push('log closed') }
  log.end = () => { calls.push('log ended') }
  channel.feed.add({ ...reader, close: () => { calls.push('reader closed') } })
  let reason: unknown
  const consumed = channel.publishFrom(({ signal }: { signal: AbortSignal }) => {
    signal.addEventListener('abort', () => { reason = signal.reason })
    return new Promise(() => {})
  })
  channel.close()
  t.equal(channel.open, false)
  t.strictSame(calls, ['reader closed', 'log closed'])
  t.match(reason, { name: 'AbortError', reason: 'shutdown' })
  await within('the producer', consumed)
  await turn()
  t.equal(calls.length, 2)
})

t.test('E2: any value that errorEvent throws ends the channel', async t => {
  for (const [what, thrown] of oddities()) {
    const { channel, log } = make({ errorEvent: () => { throw thrown } })
    const failure = new Error('the source')
    await t.rejects(within(what, channel.publishFrom(() => { throw failure })), failure)
    t.equal((await log.state()).ended, true, what)
  }
})

// The end with a last event

const HISTORY = { maxEvents: 100, maxBytes: 10_000, maxAge: Infinity }

/** A log that ignores the arguments of `end`, as one without `peek` may. */
function plainLog (): EventLog {
  const log = memoryLog()('name', HISTORY)
  return {
    append: record => log.append(record),
    read: (after, limit) => log.read(after, limit),
    state: () => log.state(),
    tail: listener => log.tail(listener),
    end: () => log.end(),
    isIdle: () => log.isIdle(),
    close: () => log.close()
  }
}

for (const [where, makeLog] of [...logs, ['without the methods of runs', plainLog] as const]) {
  t.test(`R7: the end publishes its event as the last one; a log ${where}`, async t => {
    const { channel, log } = make({ events: events as EventMap }, makeLog())
    const batches: LogBatch[] = []
    log.tail(batch => { batches.push(batch) })
    await channel.append({ data: 'a' })
    await channel.end({ event: 'count', data: { n: 1, secret: 1 } })
    await within('the end', (async () => { while (batches.at(-1)?.ended !== true) await turn() })())
    t.strictSame(await storedEvents(log), ['message a', 'count {"n":1}'])
    if (log.peek !== undefined) {
      t.strictSame(batches.map(({ ended, entries }) => [ended, entries.length]), [[false, 1], [true, 1]], 'in one step')
      t.equal((await log.peek())?.outcome, 'stopped')
    }
    await channel.end({ data: 'late' })
    t.strictSame(await storedEvents(log), ['message a', 'count {"n":1}'], 'a second end appends nothing')
  })

  t.test(`C2: the end with an invalid event rejects, and the channel and its producer continue; a log ${where}`, async t => {
    const { channel, log } = make({ events: events as EventMap }, makeLog())
    const queue = new EventQueue()
    const done = channel.publishFrom(queue)
    for (const bad of [{ event: 'count', data: { n: 'x' } }, { event: 'cuont', data: 1 }, { data: 'x', id: 'mine' }, null]) {
      await t.rejects(channel.end(bad), { code: /^FST_SSE_(DATA|UNKNOWN_EVENT|PUBLISH)$/ })
    }
    t.equal(channel.producing, true)
    await queue.push({ data: 'a' })
    queue.end()
    await within('the end', done)
    t.equal(channel.producing, false)
    t.strictSame(await storedEvents(log), ['message a'])
  })

  t.test(`E2: a channel that fails ends with its error event; a log ${where}`, async t => {
    liftLoopBudget(t)
    const { channel, log, lines } = make({ errorEvent: ({ message }) => ({ event: 'error', data: message }) }, makeLog())
    let abort: (reason: unknown) => void = () => {}
    const aborted = new Promise<unknown>(resolve => { abort = resolve })
    const done = channel.publishFrom(async function * ({ signal }: { signal: AbortSignal }) {
      yield { data: 'a' }
      await once(signal, 'abort')
      abort(signal.reason)
    })
    await within('the event', (async () => { while ((await log.state()).newest < 1) await turn() })())
    await channel.fail(new Error('gone'), 'broken')
    await within('the producer', done)
    t.match(await within('the signal', aborted), { reason: 'channel-ended' })
    t.strictSame(await storedEvents(log), ['message a', 'error gone'])
    await channel.fail(new Error('again'), 'broken')
    t.strictSame(await storedEvents(log), ['message a', 'error gone'])
    if (log.peek !== undefined) t.equal((await log.peek())?.outcome, 'broken')
    t.strictSame(lines, [])
  })

  t.test(`R7: the outcome of a producer is in the log; a log ${where}`, async t => {
    for (const [failure, outcome] of [[undefined, 'complete'], [new Error('no'), 'failed']] as const) {
      const { channel, log } = make({}, makeLog())
      const done = channel.publishFrom((async function * () {
        yield { data: 'a' }
        if (failure !== undefined) throw failure
      })())
      if (failure === undefined) await within('the end', done)
      else await within('the end', t.rejects(done, failure))
      t.equal((await log.state()).ended, true)
      if (log.peek !== undefined) t.equal((await log.peek())?.outcome, outcome)
    }
  })
}

t.test('R7: a log without the methods of runs that rejects the last event stays open', async t => {
  const { channel, log } = make({}, Object.assign(plainLog(), { append: () => { throw new Error('full') } }))
  await t.rejects(channel.end({ data: 'a' }), { message: 'full' })
  t.equal((await log.state()).ended, false)
})

t.test('R11: after a producer, another one may start on a log that has lost its history', async t => {
  const log = new RemoteLog()
  const { channel } = make({}, log)
  await channel.publishFrom([{ data: 'a' }])
  await log.lose()
  const ignored = new EventQueue()
  await channel.publishFrom(ignored)
  t.equal(await ignored.push({ data: 'x' }), false)
  const queue = new EventQueue()
  const done = channel.publishFrom(queue, true)
  t.equal(channel.publishFrom([{ data: 'y' }], true), done, 'not beside a live one')
  await queue.push({ data: 'b' })
  queue.end()
  await within('the end', done)
  t.strictSame(await storedEvents(log), ['message b'])
})
