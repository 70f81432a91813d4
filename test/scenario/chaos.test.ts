import t from 'tap'
import { chaos } from '../chaos/chaos.ts'
import { absent, REDIS } from '../setup/programs.ts'

t.setTimeout(180_000)

// Other tests run at the same time. `npm run chaos` runs longer, at a higher rate.
const PLAN = { faults: 9, seconds: 0, clients: 300, rate: 500 }

t.test('R2, R3: whatever fails, every client receives each acknowledged event once and in order', {
  skip: absent(REDIS)
}, async t => {
  const seed = Math.floor(Math.random() * 1e6)
  const { rows, wrongs, evidence } = await chaos(t, { ...PLAN, seed, say: line => t.comment(line) })
  for (const [what, figure] of rows) t.comment(`${what}: ${figure}`)
  t.strictSame(wrongs, [], evidence.join('\n'))
})
