import { parseArgs } from 'node:util'
import { chaos } from './chaos.ts'
import { FAULTS } from './faults.ts'
import { isStoreName, STORES } from './store.ts'

/*
 * The long run: `npm run chaos -- --log postgres --seconds 600 --seed 7`. It ends by itself, with exit code 1 after a
 * violation.
 */
const { values } = parseArgs({
  options: {
    log: { type: 'string', default: 'redis' },
    seconds: { type: 'string', default: '300' },
    seed: { type: 'string', default: String(Date.now() % 1e6) },
    clients: { type: 'string', default: '300' },
    rate: { type: 'string', default: '2000' }
  }
})
const [seconds, seed, clients, rate] = [values.seconds, values.seed, values.clients, values.rate].map(Number) as [
  number,
  number,
  number,
  number
]

const { log } = values
if (!isStoreName(log)) {
  throw new TypeError(`--log takes ${Object.keys(STORES).join(' or ')}, got ${log}`)
}

const endings: Array<() => unknown> = []
const owner = { teardown: (fn: () => unknown) => { endings.unshift(fn) } }
let ended: Promise<void> | undefined
const end = (): Promise<void> => (ended ??= (async () => { for (const end of endings) await end() })())
// A signal also stops the child processes, even if both npm and the terminal send one.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => { end().finally(() => process.exit(1)) })

console.log(`${STORES[log].title}, seed ${seed}, ${seconds} seconds`)
try {
  const { rows, wrongs, evidence } = await chaos(owner, {
    log,
    seconds,
    seed,
    clients,
    rate,
    faults: Object.keys(FAULTS).length,
    say: line =>
      console.log(line)
  })
  console.log(`\n${rows.map(([what, figure]) => `${what.padEnd(42)}${figure}`).join('\n')}\n`)
  for (const line of [...wrongs, ...evidence]) console.log(line)
  process.exitCode = wrongs.length === 0 ? 0 : 1
} finally {
  await end()
}
