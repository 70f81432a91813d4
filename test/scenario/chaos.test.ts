import t from 'tap'
import { chaos } from '../chaos/chaos.ts'
import { FAULTS } from '../chaos/faults.ts'
import { isStoreName, STORES } from '../chaos/store.ts'
import { absent } from '../setup/programs.ts'

t.setTimeout(240_000)
// A fault is mostly a time of waiting.
t.jobs = 2

// Other tests run at the same time. `npm run chaos` runs longer, at a higher rate.
const PLAN = { faults: Object.keys(FAULTS).length, seconds: 0, clients: 100, rate: 300 }

for (const log of Object.keys(STORES).filter(isStoreName)) {
  const { title, program } = STORES[log]
  t.test(`R2, R3: whatever fails, every client receives each acknowledged event once and in order: ${title}`, {
    skip: absent(program),
    buffered: true
  }, async t => {
    const seed = Math.floor(Math.random() * 1e6)
    const { rows, wrongs, evidence } = await chaos(t, { ...PLAN, log, seed, say: line => t.comment(line) })
    for (const [what, figure] of rows) t.comment(`${what}: ${figure}`)
    t.strictSame(wrongs, [], evidence.join('\n'))
  })
}
