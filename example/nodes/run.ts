import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from './front.ts'
import { Supervisor } from './supervisor.ts'
import { redisIn, waitForRedis } from './redis.ts'

// Three nodes, the Redis that they share, and a proxy in front of them.
//   npm run nodes
//   REDIS_URL=redis://127.0.0.1:6379 npm run nodes    with a running Redis

const NAMES = ['A', 'B', 'C']
// The time limit for the first answer of a running Redis, in milliseconds.
const REDIS_TIMEOUT = 5_000

/** Cleans up everything that was started. Runs in reverse order. */
const cleanups: Array<() => Promise<unknown>> = []
let stopped: Promise<void> | undefined

async function redis (): Promise<{ url: string, supervisors: Supervisor[] }> {
  const { REDIS_URL: url } = process.env
  if (url !== undefined) {
    await waitForRedis(url, AbortSignal.timeout(REDIS_TIMEOUT)).catch(cause => {
      throw new Error(`REDIS_URL: no Redis answers at ${url}`, { cause })
    })
    return { url, supervisors: [] }
  }
  const folder = await mkdtemp(join(tmpdir(), 'nodes-'))
  cleanups.push(() => rm(folder, { recursive: true, force: true }))
  const own = redisIn(folder)
  cleanups.push(() => own.supervisor.stop())
  await own.supervisor.start()
  return { url: own.url, supervisors: [own.supervisor] }
}

const node = (name: string, redisUrl: string): Supervisor => new Supervisor(name, {
  spawn: () => fork(new URL('server.ts', import.meta.url), {
    execArgv: ['--import', import.meta.resolve('tsx')],
    env: { ...process.env, NAME: name, PORT: '0', REDIS_URL: redisUrl },
    // In its own process group: Ctrl-C reaches only this process, which then stops the nodes.
    detached: true
  }),
  ready: async (child, signal) => {
    const [{ port }] = await once(child, 'message', { signal }) as [{ port: number }]
    return port
  }
})

async function main (): Promise<void> {
  const { url, supervisors } = await redis()
  const nodes = NAMES.map(name => node(name, url))
  const front = await build(nodes, supervisors)
  cleanups.push(() => front.close(), () => Promise.all(nodes.map(node => node.stop())))
  // Listens first: if the port is taken, nothing else is started.
  const address = await front.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
  await Promise.all(nodes.map(node => node.start()))
  console.log(`Open ${address} in a browser, or read the stream: curl -N ${address}/ticks/events`)
  for (const supervisor of [...nodes, ...supervisors]) {
    supervisor.on('change', () => {
      if (stopped === undefined) {
        console.log(`${supervisor.name} is ${supervisor.up ? `up, process ${supervisor.pid}` : 'down'}`)
      }
    })
  }
}

const started = main()

async function cleanUp (): Promise<void> {
  for (let next = cleanups.pop(); next !== undefined; next = cleanups.pop()) await next()
}

async function stop (): Promise<void> {
  await cleanUp()
  // If stopped during the start, more may have been started by now.
  await started.catch(() => {})
  await cleanUp()
  if (process.connected) process.disconnect()
}

// 'disconnect': the parent process exited without a signal.
for (const event of ['SIGINT', 'SIGTERM', 'SIGHUP', 'disconnect']) process.on(event, () => { stopped ??= stop() })
started.catch(error => {
  if (stopped !== undefined) return
  console.error((error as Error).message)
  process.exitCode = 1
  stopped = stop()
})
