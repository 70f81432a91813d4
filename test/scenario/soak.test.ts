import t from 'tap'
import { report } from '../soak/report.ts'
import { soak } from '../soak/soak.ts'

t.setTimeout(180_000)

// `npm run soak` is the same with thousands of clients, for longer.
const PLAN = { seconds: 7, connections: 300 }

t.test('L3, L4, L7, R2: clients connect, stall, break off, are rejected and disconnected; they leave nothing behind, and no event is lost', async t => {
  const outcome = await soak(t, { ...PLAN, seed: Math.floor(Math.random() * 1e6), say: line => t.comment(line) })
  for (const [what, figure] of report(outcome)) t.comment(`${what}: ${figure}`)
  t.strictSame(outcome.wrongs, [])
  const { streams, rejected } = outcome.stats
  t.ok(
    streams.closed.client > 0 && streams.closed.revoked > 0 && rejected.maxStreamsPerKey > 0 && rejected.maxStreams > 0,
    'all of that happened'
  )
})
