import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from './front.ts'
import { Keeper } from './keeper.ts'
import { answers, redisIn } from './redis.ts'

// Three nodes, the Redis that they share, and a proxy before them.
//   npm run nodes
//   REDIS_URL=redis://127.0.0.1:6379 npm run nodes    with a Redis that is there

const NAMES = ['A', 'B', 'C']
// A Redis that is there answers by then.
const PATIENCE = 5_000

/** What ends each thing that was started. */
const ends: Array<() => Promise<unknown>> = []
let over: Promise<void> | undefined

async function redis (): Promise<{ url: string, keepers: Keeper[] }> {
  const { REDIS_URL: url } = process.env
  if (url !== undefined) {
    await answers(url, AbortSignal.timeout(PATIENCE)).catch(cause => { throw new Error(`REDIS_URL: no Redis answers at ${url}`, { cause }) })
    return { url, keepers: [] }
  }
  const folder = await mkdtemp(join(tmpdir(), 'nodes-'))
  ends.push(() => rm(folder, { recursive: true, force: true }))
  const own = redisIn(folder)
  ends.push(() => own.keeper.stop())
  await own.keeper.start()
  return { url: own.url, keepers: [own.keeper] }
}

const node = (name: string, redisUrl: string): Keeper => new Keeper(name, {
  spawn: () => fork(new URL('server.ts', import.meta.url), {
    execArgv: ['--import', import.meta.resolve('tsx')],
    env: { ...process.env, NAME: name, PORT: '0', REDIS_URL: redisUrl },
    // In a group of its own: Ctrl-C is for us, and we say when it stops.
    detached: true
  }),
  ready: async (child, signal) => {
    const [{ port }] = await once(child, 'message', { signal }) as [{ port: number }]
    return port
  }
})

async function main (): Promise<void> {
  const { url, keepers } = await redis()
  const nodes = NAMES.map(name => node(name, url))
  const front = await build(nodes, keepers)
  ends.push(() => front.close(), () => Promise.all(nodes.map(node => node.stop())))
  // A port that is taken is known before anything else is started.
  const address = await front.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
  await Promise.all(nodes.map(node => node.start()))
  console.log(`Open ${address} in a browser, or read the stream: curl -N ${address}/ticks/events`)
  for (const keeper of [...nodes, ...keepers]) {
    keeper.on('change', () => { if (over === undefined) console.log(`${keeper.name} is ${keeper.up ? `up, process ${keeper.pid}` : 'down'}`) })
  }
}

const started = main()

/** The last is ended first. */
async function end (): Promise<void> {
  for (let next = ends.pop(); next !== undefined; next = ends.pop()) await next()
}

async function stop (): Promise<void> {
  await end()
  // Who stops it while it starts: what was just about to start is there by now.
  await started.catch(() => {})
  await end()
  if (process.connected) process.disconnect()
}

// The last one: what started this process is gone, without a word.
for (const event of ['SIGINT', 'SIGTERM', 'SIGHUP', 'disconnect']) process.on(event, () => { over ??= stop() })
started.catch(error => {
  if (over !== undefined) return
  console.error((error as Error).message)
  process.exitCode = 1
  over = stop()
})
