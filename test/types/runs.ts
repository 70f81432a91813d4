import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import sse, {
  EventQueue,
  memoryLog,
  type Channel,
  type ChannelFamily,
  type EventLog,
  type EventLogFactory,
  type EventMap,
  type LogStatus,
  type PublishEventOf,
  type Run,
  type RunLog,
  type Runs,
  type RunsOptions,
  type RunState,
  type StartedRun
} from '../../lib/index.ts'
import { assertType, type Equal } from './equal.ts'

// Runs and families of channels. Compiled, never run.

const app = Fastify()
app.register(sse)

const events = { token: Type.String(), done: Type.Object({ reason: Type.String() }) }
type Events = typeof events
const options = { events, leaseDuration: 5_000 } satisfies RunsOptions<Events>

// Families.

const jobs = app.sse.channelFamily('job', { events })
assertType<Equal<typeof jobs, ChannelFamily<Events>>>()
assertType<Equal<ReturnType<typeof jobs.of>, Channel<Events>>>()
assertType<Equal<ReturnType<typeof jobs.nameOf>, string>>()
jobs.of('1').publish({ event: 'token', data: 'x' })
// @ts-expect-error an id is a string
jobs.of(1)
// @ts-expect-error the data of an event
jobs.of('1').end({ event: 'token', data: 1 })
jobs.of('1').end({ event: 'done', data: { reason: 'x' } })
jobs.of('1').end()
const free: ChannelFamily<EventMap> = app.sse.channelFamily('free')
free.of('1').publish({ event: 'any', data: 1 })

// Runs.

const runs = app.sse.runs('run', options)
assertType<Equal<typeof runs, Runs<Events>>>()
app.sse.runs('free', { start: 'latest', history: { maxEvents: 1 }, errorEvent: null })
// @ts-expect-error unknown option
app.sse.runs('free', { lease: 1 })

runs.start('1', ({ signal }) => generate(signal))
assertType<Equal<ReturnType<typeof runs.start>, Promise<StartedRun<Events>>>>()
runs.start('1', new EventQueue<Events, PublishEventOf<Events>>())
runs.start('1', [{ event: 'token', data: 'x' }])
// @ts-expect-error an event of another map
runs.start('1', [{ event: 'tokn', data: 'x' }])
// @ts-expect-error a run needs a source
runs.start('1')

assertType<Equal<ReturnType<typeof runs.get>, Promise<Run<Events> | undefined>>>()
assertType<Equal<Run['state'], RunState>>()
assertType<Equal<Run<Events>['channel'], Channel<Events>>>()
assertType<Equal<ReturnType<typeof runs.stop>, Promise<boolean>>>()
runs.stop('1', { event: 'done', data: { reason: 'x' } })
// @ts-expect-error the data of an event
runs.stop('1', { event: 'done', data: {} })

// As a source.

app.get('/run', { schema: { sse: events } }, async (_request, reply) => {
  const { run } = await runs.start('1', [])
  if (run.state === 'running') return reply.sse(run)
  return reply.sse(await runs.follow('1'), { end: { event: 'done', data: { reason: 'x' } } })
})
app.get('/many', { schema: { sse: events } }, async (_request, reply) =>
  reply.sse([await runs.follow('1'), (await runs.start('2', [])).run, jobs.of('1')]))
app.get('/other', { schema: { sse: { price: Type.Number() } } }, async (_request, reply) =>
  // @ts-expect-error the events of the run are not those of the route
  reply.sse(await runs.follow('1')))
// @ts-expect-error there may be no run
app.get('/none', async (_request, reply) => reply.sse(await runs.get('1')))

async function * generate (signal: AbortSignal): AsyncGenerator<PublishEventOf<Events>> {
  if (!signal.aborted) yield { event: 'token', data: 'x' }
}

// Names and logs.

function takeRunLog (_log: RunLog): void {}

assertType<Equal<ReturnType<typeof app.sse.locate>, Promise<string[]>>>()
app.get('/names', async request => await app.sse.locate(request.lastEventId))

const open = memoryLog()
const log = open('x', { maxEvents: 1, maxBytes: 1, maxAge: 1 })
assertType<Equal<typeof log, EventLog>>()
const runLog: RunLog = { ...log, peek: () => undefined, lease: () => true }
runLog.end({ event: 'message', data: 'x', json: false }, 'complete')
const status: LogStatus = { epoch: 'a', newest: 1, ended: false, leased: false }
// @ts-expect-error a log need not have the methods of runs
takeRunLog(log)
const own: EventLogFactory = () => ({ ...log, peek: () => status, end: () => {} })
app.register(sse, { eventLog: Object.assign(own, { locate: async () => 'x' }) })
