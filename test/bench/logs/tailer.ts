import { createHistogram, performance } from 'node:perf_hooks'
import { Redis } from 'ioredis'

/*
 * One method of tailing streams, alone in a process: `tailer.ts <port> <method> <streams>`.
 * Each entry contains the time of its append. Notifies its parent when it is listening, and sends the latencies at the
 * end.
 */
const [port, way, count] = process.argv.slice(2)
const streams = Array.from({ length: Number(count) }, (_, index) => `tailed:${index}`)
const redis = new Redis({ port: Number(port), host: '127.0.0.1' })
const latency = createHistogram()
let received = 0
let from = process.cpuUsage()

function record (time: string): void {
  received++
  latency.record(Math.max(1, Math.round((performance.timeOrigin + performance.now() - Number(time)) * 1_000)))
}

/** XREAD BLOCK: every call names every stream, with the last id of each. */
async function blocking (): Promise<void> {
  const last = new Map(streams.map(name => [name, '0-0']))
  process.send!('listening')
  for (;;) {
    const answer = await redis.xread('COUNT', 1_000, 'BLOCK', 0, 'STREAMS', ...last.keys(), ...last.values())
    for (const [name, entries] of answer ?? []) {
      for (const [, fields] of entries) record(fields[1]!.slice(0, 20))
      last.set(name, entries.at(-1)![0])
    }
  }
}

/** Pub/Sub: the message contains the entry. */
async function subscribe (): Promise<void> {
  redis.on('messageBuffer', (_channel: Buffer, message: Buffer) => record(message.toString('latin1', 0, 20)))
  for (let at = 0; at < streams.length; at += 1_000) await redis.subscribe(...streams.slice(at, at + 1_000))
  process.send!('listening')
}

process.on('message', message => {
  if (message === 'begin') {
    from = process.cpuUsage()
    latency.reset()
    received = 0
  } else {
    const { user, system } = process.cpuUsage(from)
    process.send!({ received, cpu: user + system, p50: latency.percentile(50), p99: latency.percentile(99) })
  }
})
process.once('disconnect', () => process.exit())
await (way === 'blocking' ? blocking() : subscribe())
