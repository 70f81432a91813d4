import { fork } from 'node:child_process'
import { once } from 'node:events'
import { performance } from 'node:perf_hooks'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Redis } from 'ioredis'
import type { RedisServer } from '../../setup/redis.ts'
import { spread, table } from '../table.ts'

interface Sample { p50: number, p99: number, tailer: number, redis: number, received: number }

const SCRIPT = `
redis.call('XADD', KEYS[1], 'MAXLEN', '~', 1000, '*', 'data', ARGV[1])
if ARGV[2] == 'subscribe' then redis.call('PUBLISH', KEYS[1], ARGV[1]) end
`

/** Microseconds of CPU. */
async function cpuOf (redis: Redis): Promise<number> {
  const info = await redis.info('cpu')
  return ['used_cpu_user', 'used_cpu_sys'].reduce(
    (sum, name) => sum + Number(new RegExp(`${name}:([\\d.]+)`).exec(info)![1]) * 1e6,
    0
  )
}

async function measure (
  server: RedisServer,
  redis: Redis,
  way: string,
  streams: number,
  rate: number,
  seconds: number
): Promise<Sample> {
  await redis.flushall()
  const tailer = fork(fileURLToPath(new URL('tailer.ts', import.meta.url)), [String(server.port), way, String(streams)],
    { execArgv: ['--import', 'tsx'] })
  try {
    await once(tailer, 'message')
    await pause(200)
    tailer.send('begin')
    const before = await cpuOf(redis)
    const started = performance.now()
    let sent = 0
    while (performance.now() - started < seconds * 1_000) {
      const due = Math.floor((performance.now() - started) * rate / 1_000)
      for (; sent < due; sent++) {
        const time = (performance.timeOrigin + performance.now()).toFixed(6).padEnd(20).slice(0, 20) + 'x'.repeat(180)
        redis.eval(SCRIPT, 1, `tailed:${sent * 7919 % streams}`, time, way).catch(() => {})
      }
      await pause(1)
    }
    await pause(500)
    const redisCpu = await cpuOf(redis) - before
    tailer.send('end')
    const [{ received, cpu, p50, p99 }] = await once(tailer, 'message') as [
      { received: number, cpu: number, p50: number, p99: number }
    ]
    return {
      p50: p50 / 1_000,
      p99: p99 / 1_000,
      tailer: cpu / sent,
      redis: redisCpu / sent,
      received: received / sent * 100
    }
  } finally {
    const over = once(tailer, 'exit')
    tailer.kill()
    await over
  }
}

/**
 * Compares two methods of tailing: `XREAD BLOCK` over all streams, or a subscription whose message contains the entry.
 */
export async function tails (
  server: RedisServer,
  redis: Redis,
  { rounds, rate, seconds }: { rounds: number, rate: number, seconds: number }
): Promise<string> {
  const rows: string[][] = []
  for (const streams of [1, 10_000]) {
    const samples: Record<string, Sample[]> = { blocking: [], subscribe: [] }
    for (let round = 0; round < rounds; round++) {
      for (const way of ['blocking', 'subscribe']) {
        samples[way]!.push(await measure(server, redis, way, streams, rate, seconds))
      }
    }
    for (const [way, list] of Object.entries(samples)) {
      const cell = (name: keyof Sample, digits: number): string => spread(list.map(sample => sample[name]), digits)
      rows.push([streams.toLocaleString('en-US'), way === 'subscribe' ? 'SUBSCRIBE' : 'XREAD BLOCK', cell('p50', 2),
        cell('p99', 2), cell('tailer', 0), cell('redis', 0), cell('received', 0)])
    }
  }
  return table([`channels, ${rate.toLocaleString('en-US')} events/s in all`, 'tail', 'p50 ms', 'p99 ms',
    'CPU of the node, µs per event', 'CPU of Redis, µs per event', 'received, %'], rows)
}
