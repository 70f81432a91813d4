import { parseArgs } from 'node:util'
import { report } from './report.ts'
import { soak } from './soak.ts'

/*
 * The long run: `npm run soak -- --seconds 600 --connections 5000 --seed 7`. It ends by itself, with exit code 1 after
 * a violation.
 */
const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '600' },
    connections: { type: 'string', default: '5000' },
    seed: { type: 'string', default: String(Date.now() % 1e6) }
  }
})
const [seconds, connections, seed] = [values.seconds, values.connections, values.seed].map(Number) as [number, number,
  number]

const endings: Array<() => unknown> = []
const owner = { teardown: (fn: () => unknown) => { endings.unshift(fn) } }
let ended: Promise<void> | undefined
const end = (): Promise<void> => (ended ??= (async () => { for (const end of endings) await end() })())
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => { end().finally(() => process.exit(1)) })

const began = performance.now()
const say = (line: string): void =>
  console.log(`${((performance.now() - began) / 1_000).toFixed(1).padStart(7)} s  ${line}`)
try {
  const outcome = await soak(owner, { seconds, connections, seed, say })
  console.log(`\n${report(outcome).map(([what, figure]) => `${what.padEnd(40)}${figure}`).join('\n')}\n`)
  for (const line of outcome.wrongs) console.log(line)
  process.exitCode = outcome.wrongs.length === 0 ? 0 : 1
} finally {
  await end()
}
