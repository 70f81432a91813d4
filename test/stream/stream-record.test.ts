import type { FastifyReply } from 'fastify'
import t from 'tap'
import { StreamRecord } from '../../lib/stream/stream-record.ts'
import type { CloseReason } from '../../lib/lifecycle.ts'
import { Statistics } from '../../lib/metrics/statistics.ts'

interface Line { level: string, line: unknown, text: string }

function make (counts = true): { account: StreamRecord, time: { now: number }, lines: Line[], statistics: Statistics } {
  const lines: Line[] = []
  const level = (level: string) => (line: unknown, text: string) => { lines.push({ level, line, text }) }
  const log = Object.fromEntries(['debug', 'info', 'warn', 'error'].map(name => [name, level(name)]))
  const server = { initialConfig: {} }
  const request = { method: 'GET', url: '/jobs/7?all', lastEventId: 'before' }
  const time = { now: 100 }
  const statistics = new Statistics()
  const account = new StreamRecord({ reply: { request, log, server } as unknown as FastifyReply, route: { name: 'GET /jobs/:id', counters: statistics.route('GET /jobs/:id') }, key: 'ann', time, counted: counts })
  return { account, time, lines, statistics }
}

t.test('a stream has one line in the log when it is over, at its own level', async t => {
  const levels: Record<CloseReason, string> = {
    client: 'info', complete: 'info', error: 'info', shutdown: 'info', stalled: 'info', lagging: 'warn', expired: 'info', 'channel-ended': 'info', revoked: 'info'
  }
  for (const [reason, level] of Object.entries(levels)) {
    const { account, time, lines, statistics } = make()
    t.equal(account.name, 'GET /jobs/7?all')
    t.equal(account.route, 'GET /jobs/:id')
    time.now = 150
    t.equal(account.age, 50)
    const report = { reason, duration: 50, events: 3, bytes: 70, lastEventId: 'before' }
    t.strictSame(account.close(reason as CloseReason, { events: 3, bytes: 70, lastEventId: account.lastEventId }), report)
    t.strictSame(lines, [{ level, line: report, text: 'sse stream closed' }])
    t.match(statistics.snapshot([], {}).routes, { 'GET /jobs/:id': { open: 0, opened: 1, closed: { [reason]: 1 }, events: 3, bytes: 70 } })
  }
})

t.test('what goes wrong has a line of its own', async t => {
  const { account, lines } = make()
  const error = new Error('broken')
  account.logError(error, 'sse stream failed')
  account.reportError(error)
  t.strictSame(lines, [{ level: 'error', line: { err: error }, text: 'sse stream failed' }])
})

t.test('a response without a body is no stream', async t => {
  const { account, lines, statistics } = make(false)
  t.match(account.close('complete', { events: 0, bytes: 0, lastEventId: 'after' }), { reason: 'complete', lastEventId: 'after' })
  t.strictSame(lines, [])
  t.equal(statistics.snapshot([], {}).streams.opened, 0)
})
