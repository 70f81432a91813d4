import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyReply } from 'fastify'
import t from 'tap'
import { StreamRecord } from '../../lib/stream/stream-record.ts'
import type { CloseReason, CloseReport } from '../../lib/lifecycle.ts'
import { Statistics } from '../../lib/metrics/statistics.ts'

interface Line { level: string, line: unknown, text: string }

function make (counts = true): { record: StreamRecord, time: { now: number }, lines: Line[], statistics: Statistics } {
  const lines: Line[] = []
  const level = (level: string) => (line: unknown, text: string) => { lines.push({ level, line, text }) }
  const log = Object.fromEntries(['debug', 'info', 'warn', 'error'].map(name => [name, level(name)]))
  const server = { initialConfig: {} }
  const request = { method: 'GET', url: '/jobs/7?all', lastEventId: 'before' }
  const time = { now: 100 }
  const statistics = new Statistics()
  const record = new StreamRecord({
    reply: { request, log, server } as unknown as FastifyReply,
    route: { name: 'GET /jobs/:id', counters: statistics.route('GET /jobs/:id') },
    key: 'ann',
    time,
    counted: counts
  })
  return { record, time, lines, statistics }
}

t.test('the end of a stream is one log line, at the level of its reason', async t => {
  const levels: Record<CloseReason, string> = {
    client: 'info',
    complete: 'info',
    error: 'info',
    shutdown: 'info',
    stalled: 'info',
    lagging: 'warn',
    expired: 'info',
    'channel-ended': 'info',
    revoked: 'info'
  }
  for (const [reason, level] of Object.entries(levels)) {
    const { record, time, lines, statistics } = make()
    t.equal(record.name, 'GET /jobs/7?all')
    t.equal(record.route, 'GET /jobs/:id')
    time.now = 150
    t.equal(record.age, 50)
    const report = { reason, duration: 50, events: 3, bytes: 70, lastEventId: 'before', omittedSystemEvents: 0 }
    t.strictSame(record.close(reason as CloseReason, { events: 3, bytes: 70, lastEventId: record.lastEventId }), report)
    t.strictSame(lines, [{ level, line: report, text: 'sse stream closed' }])
    t.match(statistics.snapshot([], 0).routes, {
      'GET /jobs/:id': { open: 0, opened: 1, closed: { [reason]: 1 }, events: 3, bytes: 70 }
    })
  }
})

t.test('an error has its own log line', async t => {
  const { record, lines } = make()
  const error = new Error('broken')
  record.logError(error, 'sse stream failed')
  record.reportError(error)
  t.strictSame(lines, [{ level: 'error', line: { err: error }, text: 'sse stream failed' }])
})

t.test('a response without a body is no stream', async t => {
  const { record, lines, statistics } = make(false)
  t.match(record.close('complete', { events: 0, bytes: 0, lastEventId: 'after' }), {
    reason: 'complete',
    lastEventId: 'after'
  })
  t.strictSame(lines, [])
  t.equal(statistics.snapshot([], 0).streams.opened, 0)
})

t.test('onClose is called with the report, and its error is logged, also that of an async one', async t => {
  const report: CloseReport = { reason: 'complete', duration: 1, events: 2, bytes: 3, lastEventId: undefined, omittedSystemEvents: 0 }
  const seen: unknown[] = []
  make().record.notify(report, input => { seen.push(input) })
  t.strictSame(seen, [report])
  const thrown = new Error('from the callback')
  for (const onClose of [() => { throw thrown }, async () => { throw thrown }]) {
    const { record, lines } = make()
    record.notify(report, onClose)
    await turn()
    t.strictSame(lines, [{ level: 'error', line: { err: thrown }, text: 'sse callback failed' }])
  }
})
