import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, {
  EventQueue, memoryLog, type EventLogFactory, type LogEntry, type LogStatus, type PublishEventOf, type RunLog,
  type RunsOptions
} from '../../lib/index.ts'
import { injectStream } from '../../lib/testing.ts'
import { dice, RemoteLog } from '../setup/remote-log.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

const events = { token: Type.String(), done: Type.Object({ reason: Type.String() }) }
type Event = PublishEventOf<typeof events>
type Queue = EventQueue<typeof events, Event>
const options = { events, leaseDuration: 300 } satisfies RunsOptions<typeof events>
const token = (data: string): Event => ({ event: 'token', data })
const BROKEN = '{"type":"about:blank","title":"Service Unavailable","status":503}'

interface Node { app: FastifyInstance, lines: Array<{ msg: string, err?: { code?: string, message?: string } }> }

/** A server with the runs `job`. */
async function make (
  t: Test,
  eventLog?: EventLogFactory,
  runsOptions: RunsOptions<typeof events> = options
): Promise<Node> {
  const lines: Node['lines'] = []
  const app = Fastify({ logger: { level: 'warn', stream: { write: line => { lines.push(JSON.parse(line)) } } } })
  await app.register(sse, { eventLog })
  const runs = app.sse.runs('job', runsOptions)
  app.get<{ Params: { id: string } }>('/jobs/:id', { schema: { sse: events } },
    async (request, reply) => reply.sse(await runs.follow(request.params.id)))
  t.teardown(() => app.close())
  return { app, lines }
}

const runsOf = ({ app }: Node) => app.sse.runs('job', options)

/** One log for all nodes. A node may take its log away with `cut`. */
class Store {
  readonly log = new RemoteLog()
  cut = false

  /** Returns the factory of another node. */
  readonly open: EventLogFactory = () => {
    const { log } = this
    const stops: Array<() => void> = []
    const far = <T>(act: () => T): T => {
      if (this.cut) throw new Error('the store is away')
      return act()
    }
    return {
      append: record => far(() => log.append(record)),
      read: (after, limit) => far(() => log.read(after, limit)),
      state: () => far(() => log.state()),
      end: (last, outcome) => far(() => log.end(last, outcome)),
      peek: () => far(() => log.peek()),
      lease: (owner, duration) => far(() => log.lease(owner, duration)),
      tail: listener => {
        const stop = log.tail(listener)
        stops.push(stop)
        return stop
      },
      isIdle: () => false,
      close: () => { for (const stop of stops.splice(0)) stop() }
    }
  }

  async entries (): Promise<string[]> {
    return (await this.log.read(0, 100)).entries.map(({ event, data }: LogEntry) => `${event} ${data}`)
  }
}

/** Asserts that a stream ends with the error event of a broken run, after these tokens. */
async function endsBroken (
  t: Test,
  stream: Awaited<ReturnType<typeof injectStream>>,
  ...before: string[]
): Promise<void> {
  t.strictSame((await within('the end', stream.takeAll())).map(({ data }) => data), before)
  t.match(stream.text, new RegExp(`event: error\\nid: \\w+-\\d+\\ndata: ${BROKEN.replace(/[{}.]/g, '\\$&')}\\n\\n$`))
}

async function * tokens (...all: string[]): AsyncGenerator<Event> {
  for (const data of all) yield token(data)
}

t.test('R11: a run starts once, outlives its clients, and each client receives it from its first event', async t => {
  const node = await make(t)
  const runs = runsOf(node)
  t.equal(runs.name, 'job')
  t.equal((await node.app.inject('/jobs/1')).statusCode, 204, 'there is no run')
  t.equal(await runs.get('1'), undefined)
  const queue: Queue = new EventQueue()
  const { run, started } = await runs.start('1', queue)
  t.equal(started, true)
  t.match(run, { id: '1', state: 'running', channel: { name: 'job:1' } })
  const stream = await injectStream(node.app, '/jobs/1')
  await queue.push(token('a'))
  t.match(await stream.take(1), [{ data: 'a' }])
  stream.close()
  await queue.push(token('b'))
  t.match(await runs.get('1'), { id: '1', state: 'running' })
  const rest = node.app.inject('/jobs/1')
  queue.end()
  const { body } = await rest
  t.match(body, /id: \w+-1\ndata: a\n\nevent: token\nid: \w+-2\ndata: b\n\n$/)
  t.equal((await runs.get('1'))?.state, 'complete')
  const again = await runs.start('1', tokens('c'))
  t.match(again, { started: false, run: { state: 'complete' } })
  const id = /.*^id: (\S+)$/ms.exec(body)![1]!
  t.equal((await node.app.inject({ url: '/jobs/1', headers: { 'last-event-id': id } })).statusCode, 204)
})

t.test('R11: a source that is not started is disposed of', async t => {
  const node = await make(t)
  const runs = runsOf(node)
  const disposed = async (source: Queue): Promise<void> => {
    t.equal(await within('the push', source.push(token('x'))), false)
  }
  const [first, second, third, fourth] = Array.from({ length: 4 }, (): Queue => new EventQueue())
  const both = await Promise.all([runs.start('1', first!), runs.start('1', second!)])
  t.strictSame(both.map(({ started }) => started), [true, false])
  await disposed(second!)
  t.match(await runs.start('1', third!), { started: false, run: { state: 'running' } })
  await disposed(third!)
  await t.rejects(runs.start('', fourth!), { code: 'FST_SSE_OPTION' })
  await disposed(fourth!)
  let calls = 0
  await runs.start('1', () => {
    calls++
    return tokens()
  })
  t.equal(calls, 0)
})

t.test('R11: a stop ends a run with its last event, and the signal of the source aborts', async t => {
  const node = await make(t)
  const runs = runsOf(node)
  t.equal(await runs.stop('1'), false, 'before the start')
  t.equal(await runs.get('1'), undefined, 'and creates nothing')
  const queue: Queue = new EventQueue()
  let reason: unknown
  await runs.start('1', async function * ({ signal }) {
    try {
      yield * queue
    } finally {
      reason = signal.reason
    }
  })
  const stream = await injectStream(node.app, '/jobs/1')
  await queue.push(token('a'))
  t.match(await stream.take(1), [{ data: 'a' }])
  const invalid = { event: 'done', data: {} } as unknown as Event
  await t.rejects(runs.stop('1', invalid), { code: 'FST_SSE_DATA' }, 'an invalid event changes nothing')
  await queue.push(token('b'))
  t.match(await stream.take(1), [{ data: 'b' }])
  t.equal(await runs.stop('1', { event: 'done', data: { reason: 'enough' } }), true)
  t.match(await stream.takeAll(), [{ data: '{"reason":"enough"}' }])
  queue.end()
  await until('the end of the source', () => reason !== undefined)
  t.match(reason, { reason: 'channel-ended' })
  t.equal((await runs.get('1'))?.state, 'stopped')
  t.equal(await runs.stop('1'), false, 'a second time')
  await runs.start('2', tokens('a'))
  await until('the end', async () => (await runs.get('2'))?.state === 'complete')
  t.equal(await runs.stop('2'), false, 'after the end')
})

t.test('R11: a run that is over before the stop is not stopped by it', async t => {
  const store = new Store()
  const node = await make(t, store.open)
  await runsOf(node).start('1', new EventQueue())
  const { end } = store.log
  store.log.end = async (last, outcome) => {
    await end.call(store.log, undefined, 'complete')
    await end.call(store.log, last, outcome)
  }
  t.equal(await runsOf(node).stop('1'), false)
})

t.test('R11: a failed source ends its run with the error event', async t => {
  const node = await make(t)
  await runsOf(node).start('1', async function * () {
    yield token('a')
    throw new Error('swordfish')
  })
  await until('the end', async () => (await runsOf(node).get('1'))?.state === 'failed')
  const { body } = await node.app.inject('/jobs/1')
  t.match(body, /event: error\nid: \w+-2\ndata: \{.*"status":500\}\n\n$/)
  t.notMatch(body, 'swordfish')
  t.match(node.lines, [{ msg: 'sse producer failed' }])
})

t.test('R11: a channel that another program ended is a stopped run, and one without a start is no run', async t => {
  const store = new Store()
  const node = await make(t, store.open)
  await store.log.append({ event: 'token', data: 'a', json: false })
  t.equal(await runsOf(node).get('1'), undefined)
  t.equal(await runsOf(node).stop('1'), false)
  store.log.lease('another', 60_000)
  t.equal((await runsOf(node).get('1'))?.state, 'running')
  await store.log.end(undefined, 'cancelled')
  t.equal((await runsOf(node).get('1'))?.state, 'stopped')
})

t.test('E1: bad arguments have codes', async t => {
  const { app } = await make(t)
  const runs = app.sse.runs('job', options)
  for (const id of ['', 'a\nb', 'x'.repeat(509), '\ud800', 7 as never, undefined as never, Symbol('x') as never, Object.create(null)]) {
    const expected = {
      code: 'FST_SSE_OPTION',
      message: /^Option 'id' must be a string of 1 to 508 characters without control characters, got /
    }
    const calls: Array<Promise<unknown>> = [runs.start(id, []), runs.get(id), runs.follow(id), runs.stop(id)]
    for (const call of calls) await t.rejects(call, expected)
  }
  t.equal(await runs.get('x'.repeat(508)), undefined)
  for (const source of [undefined, 7, {}, app.sse.channel('other')] as never[]) {
    await t.rejects(runs.start('1', source), { code: 'FST_SSE_SOURCE' })
  }
  t.equal(await runs.get('1'), undefined)
  const rows: Array<[name: unknown, options: unknown, message: RegExp]> = [
    ['a:b', {}, /^Option 'name' must be a name without ':'/],
    ['', {}, /^Option 'name'/],
    ['sse.x', {}, /^Option 'name' must be a name that does not begin with 'sse.'/],
    ['x', null, /^Option 'options' must be an object, got null/],
    ['x', 'y', /^Option 'options' must be an object, got "y"/],
    ['x', { leaseDuration: 99 }, /^Option 'leaseDuration' must be a number of milliseconds from 100 to 2147483647, got 99/],
    ['x', { leaseDuration: '5' }, /^Option 'leaseDuration'/],
    ['x', { history: null }, /^Option 'history' must be an object/],
    ['x', { history: { maxAge: 0 } }, /^Option 'history.maxAge'/],
    ['x', { ends: 1 }, /^Option 'ends' must be one of .*, got an unknown option/]
  ]
  for (const [name, options, message] of rows) {
    t.throws(() => app.sse.runs(name as string, options as object), { code: 'FST_SSE_OPTION', message })
  }
  t.throws(() => app.sse.runs('x', { events: {} }), { code: 'FST_SSE_MAP', message: /^channel family 'x': / })
})

t.test('E1: an event log without the methods of runs serves channels, and no runs', async t => {
  const rows = [['peek', "The event log has no 'peek()', which runs need: use another log, such as postgresLog(), or add the method"],
    ['lease', "The event log has no 'lease()', which runs need: use another log, such as postgresLog(), or add the method"]]
  for (const [method, message] of rows) {
    const app = Fastify()
    t.teardown(() => app.close())
    let open = 0
    await app.register(sse, {
      eventLog: (name, history) => {
        open++
        const log = memoryLog()(name, history)
        return Object.assign(Object.create(log), {
          append: log.append.bind(log),
          close: () => { open-- },
          [method!]: undefined
        })
      }
    })
    t.throws(() => app.sse.runs('job'), { code: 'FST_SSE_LOG_METHOD', message })
    t.equal(open, 0, 'the log is closed')
    t.match(await app.sse.channel('news').publish({ data: 1 }), /-1$/)
  }
})

t.test('R11: the history of a run is that of a long answer, unless the options say otherwise', async t => {
  const opened: unknown[] = []
  const { app } = await make(t, Object.assign((...args: Parameters<EventLogFactory>) => {
    opened.push(args)
    return memoryLog()(...args)
  }))
  app.sse.runs('short', { history: { maxEvents: 5 } })
  t.strictSame(opened, [['job:', { maxEvents: 10_000, maxBytes: 4_194_304, maxAge: 600_000 }],
    ['short:', { maxEvents: 5, maxBytes: 4_194_304, maxAge: 600_000 }]])
  const latest = app.sse.runs('latest', { start: 'latest' })
  await latest.start('1', tokens('a'))
  await until('the end', async () => (await latest.get('1'))?.state === 'complete')
  app.get('/latest', async (_request, reply) => reply.sse(await latest.follow('1')))
  t.equal((await app.inject('/latest')).statusCode, 204)
})

t.test('R11: the run of a dead node is broken when a node is asked for it', async t => {
  for (const ask of ['get', 'start', 'stop'] as const) {
    const store = new Store()
    const node = await make(t, store.open)
    const runs = runsOf(node)
    store.log.lease('dead', 60_000)
    await store.log.append({ event: 'token', data: 'a', json: false })
    t.equal((await runs.get('1'))?.state, 'running', 'its lease is held')
    store.log.lease('dead', 1)
    await until('the expiry', () => (store.log.peek() as { leased: boolean }).leased === false)
    if (ask === 'stop') t.equal(await runs.stop('1'), false)
    else if (ask === 'start') t.match(await runs.start('1', tokens('b')), { started: false, run: { state: 'broken' } })
    t.equal((await runs.get('1'))?.state, 'broken')
    t.strictSame(await store.entries(), ['token a', `error ${BROKEN}`])
  }
})

t.test('R11: a subscriber of a dead node\'s run gets the error event and the end, once, within a bounded time', async t => {
  const store = new Store()
  const nodes = [await make(t, store.open), await make(t, store.open), await make(t, store.open)]
  store.log.lease('dead', 60_000)
  const streams = await Promise.all(nodes.map(({ app }) => injectStream(app, '/jobs/1')))
  await store.log.append({ event: 'token', data: 'a', json: false })
  for (const stream of streams) t.match(await stream.take(1), [{ data: 'a' }])
  store.log.lease('dead', 1)
  for (const stream of streams) await endsBroken(t, stream)
  t.strictSame(await store.entries(), ['token a', `error ${BROKEN}`])
})

t.test('R11: an owner that renews its lease late keeps its run', async t => {
  const store = new Store()
  const node = await make(t, store.open)
  store.log.lease('late', 1)
  await until('the expiry', () => (store.log.peek() as { leased: boolean }).leased === false)
  const { peek } = store.log
  store.log.peek = () => {
    const status = peek.call(store.log)
    // Between the peek of the other node and its own lease.
    store.log.lease('late', 60_000)
    return status
  }
  t.equal((await runsOf(node).get('1'))?.state, 'running')
  t.strictSame(await store.entries(), [])
})

t.test('R11: a node does not break a run of its own whose lease it still has to renew', async t => {
  const store = new Store()
  const node = await make(t, store.open)
  const queue: Queue = new EventQueue()
  await runsOf(node).start('1', queue)
  const { peek } = store.log
  store.log.peek = () => ({ ...peek.call(store.log) as LogStatus, leased: false })
  t.equal((await runsOf(node).get('1'))?.state, 'running')
  queue.end()
  await until('the end', async () => (await runsOf(node).get('1'))?.state === 'complete')
  t.strictSame(await store.entries(), [])
})

t.test('R11: the own error event of the channel tells a broken run', async t => {
  const store = new Store()
  const errors: Error[] = []
  const node = await make(t, store.open, {
    ...options,
    errorEvent: error => {
      errors.push(error)
      return { event: 'done', data: { reason: 'broken' } }
    }
  })
  store.log.lease('dead', 1)
  await until('the expiry', () => (store.log.peek() as { leased: boolean }).leased === false)
  const { app } = node
  t.equal((await app.inject('/jobs/1')).body.includes('data: {"reason":"broken"}'), true)
  t.match(errors, [{
    code: 'FST_SSE_RUN_BROKEN',
    statusCode: 503,
    message: "The node of the run 'job:1' has stopped before the run was complete: start another run"
  }])
  t.equal(errors.length, 1)
})

t.test('R11: an owner whose lease is lost stops its source', async t => {
  const store = new Store()
  const [owner, other] = [await make(t, store.open), await make(t, store.open)]
  let reason: unknown
  await runsOf(owner).start('1', async function * ({ signal }) {
    yield token('a')
    await new Promise(resolve => signal.addEventListener('abort', resolve))
    reason = signal.reason
  })
  await until('the first event', async () => (await store.entries()).length === 1)
  // As after a pause of the process: the lease has expired, and another node has it.
  const { lease } = store.log
  store.log.lease = (name, duration) => (store.log.peek() as { owner: string }).owner === name
    ? false
    : lease.call(store.log, name, duration)
  await until('the end of the source', () => reason !== undefined)
  t.match(reason, { reason: 'channel-ended' })
  t.equal((await runsOf(other).get('1'))?.state, 'broken')
  t.strictSame(await store.entries(), ['token a', `error ${BROKEN}`])
})

t.test('R11: an owner that does not reach the log stops its source when the lease has expired', async t => {
  const store = new Store()
  const node = await make(t, store.open)
  let stopped = false
  const { run } = await runsOf(node).start('1', async function * ({ signal }) {
    yield token('a')
    await new Promise(resolve => signal.addEventListener('abort', resolve))
    stopped = true
  })
  await until('the first event', async () => (await store.entries()).length === 1)
  const since = performance.now()
  store.cut = true
  await until('the end of the source', () => stopped)
  t.ok(performance.now() - since >= 200, 'not before')
  await until('the log line', () => node.lines.length > 0)
  t.match(node.lines, [{ msg: 'sse run could not be ended', err: { message: 'the store is away' } }])
  store.cut = false
  await until('the lease expires', async () => (await runsOf(node).get(run.id))?.state === 'broken')
  t.strictSame(await store.entries(), ['token a', `error ${BROKEN}`])
})

t.test('a look that fails is logged, and repeated', async t => {
  const store = new Store()
  const node = await make(t, store.open)
  store.log.lease('dead', 60_000)
  const stream = await injectStream(node.app, '/jobs/1')
  store.log.lease('dead', 1)
  const { peek } = store.log
  store.log.peek = () => {
    store.log.peek = peek
    throw new Error('away')
  }
  await endsBroken(t, stream)
  t.match(node.lines, [{ msg: 'sse run could not be checked', err: { message: 'away' } }])
})

t.test('R11: a run whose log lost its history and its owner is broken, one with an owner continues', async t => {
  for (const alive of [true, false]) {
    const store = new Store()
    const [owner, other] = [await make(t, store.open), await make(t, store.open)]
    const queue: Queue = new EventQueue()
    if (alive) await runsOf(owner).start('1', queue)
    else store.log.lease('dead', 60_000)
    const stream = await injectStream(other.app, '/jobs/1')
    await store.log.append({ event: 'token', data: 'a', json: false })
    t.match(await stream.take(1), [{ data: 'a' }])
    await store.log.lose()
    t.match(await stream.take(1), [{ event: 'sse.reset' }])
    if (alive) {
      await until('the lease', () => (store.log.peek() as { leased: boolean }).leased)
      t.match(await runsOf(owner).start('1', tokens('x')), { started: false, run: { state: 'running' } })
      await queue.push(token('b'))
      queue.end()
    }
    if (alive) t.match(await within('the end', stream.takeAll()), [{ data: 'b' }])
    else await endsBroken(t, stream)
    t.equal((await runsOf(other).get('1'))?.state, alive ? 'complete' : 'broken')
  }
})

t.test('R11: after a lost history, a run of the same id can start again on its node', async t => {
  const store = new Store()
  const node = await make(t, store.open)
  await runsOf(node).start('1', tokens('a'))
  await until('the end', async () => (await runsOf(node).get('1'))?.state === 'complete')
  await store.log.lose()
  t.equal(await runsOf(node).get('1'), undefined)
  t.match(await runsOf(node).start('1', tokens('b')), { started: true })
  await until('the end', async () => (await runsOf(node).get('1'))?.state === 'complete')
  t.strictSame(await store.entries(), ['token b'])
})

t.test('R11: a start whose log is lost meanwhile returns a broken run', async t => {
  const store = new Store()
  const node = await make(t, store.open)
  store.log.peek = () => undefined
  t.match(await runsOf(node).start('1', tokens('a')), { started: false, run: { state: 'broken' } })
})

t.test('L7: while the server closes, start, stop and get reject, and a live run ends as broken', async t => {
  const store = new Store()
  const [node, other] = [await make(t, store.open), await make(t, store.open)]
  let reason: unknown
  const { run } = await runsOf(node).start('1', async function * ({ signal }) {
    yield token('a')
    await new Promise(resolve => signal.addEventListener('abort', resolve))
    reason = signal.reason
  })
  const seen: unknown[] = []
  const reading = (async () => { for await (const { event } of run.channel.subscribe()) seen.push(event) })()
  const stream = await injectStream(other.app, '/jobs/1')
  t.match(await stream.take(1), [{ data: 'a' }])
  await node.app.close()
  await reading
  t.strictSame(seen, ['token', 'error'])
  t.match(reason, { reason: 'channel-ended' })
  await endsBroken(t, stream)
  t.equal((await runsOf(other).get('1'))?.state, 'broken')
  const runs = runsOf(node)
  const calls: Array<Promise<unknown>> = [runs.start('2', tokens()), runs.get('1'), runs.follow('1'), runs.stop('1')]
  for (const call of calls) await t.rejects(call, { code: 'FST_SSE_CLOSING', statusCode: 503 })
})

t.test('L7: a start during which the server begins to close rejects, and its run is broken', async t => {
  const store = new Store()
  const [node, other] = [await make(t, store.open), await make(t, store.open)]
  const { peek } = store.log
  let closed: Promise<unknown> | undefined
  store.log.peek = async () => {
    closed ??= node.app.close()
    await until('the close begins', () => node.app.sse.shutdownSignal.aborted)
    return await peek.call(store.log)
  }
  let calls = 0
  await t.rejects(runsOf(node).start('1', () => {
    calls++
    return tokens()
  }), { code: 'FST_SSE_CLOSING' })
  await closed
  t.equal(calls, 0)
  store.log.peek = peek
  t.equal((await runsOf(other).get('1'))?.state, 'broken')
})

t.test('R11: on a remote log, one of many starts wins, at any timing', async t => {
  for (let seed = 1; seed <= 20; seed++) {
    const log = new RemoteLog({}, dice(seed))
    const shared: EventLogFactory = () => Object.assign(Object.create(log) as RunLog, bound(log), { close: () => {} })
    // No lease expires, however slow the machine is.
    const patient = { ...options, leaseDuration: 60_000 }
    const nodes = [await make(t, shared, patient), await make(t, shared, patient)]
    const calls: number[] = []
    const answers = await Promise.all(Array.from({ length: 6 }, async (_, n) =>
      nodes[n % 2]!.app.sse.runs('job', patient).start('1', () => {
        calls.push(n)
        return tokens('a', 'b')
      })))
    const winner = answers.findIndex(({ started }) => started)
    t.equal(answers.filter(({ started }) => started).length, 1, `seed ${seed}`)
    for (const { app } of nodes) {
      const stream = await injectStream(app, '/jobs/1')
      t.match(await within('the end', stream.takeAll()), [{ data: 'a' }, { data: 'b' }])
    }
    t.strictSame(calls, [winner])
  }
})

/** The methods of a log, for an object with another prototype. */
function bound (log: RunLog): RunLog {
  const names = ['append', 'read', 'state', 'tail', 'end', 'isIdle', 'close', 'peek', 'lease'] as const
  return Object.fromEntries(names.map(name => [name, (log[name] as () => unknown).bind(log)])) as unknown as RunLog
}
