import type { AddressInfo } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyRequest } from 'fastify'
import sse from 'fastify-typed-sse'
import { chances } from '../setup/chances.ts'
import { CHANNELS, PADDING } from './channels.ts'
import { serve } from './worker.ts'
import { Lines } from './lines.ts'

/*
 * The tested server, alone in its process: `server.ts <connections> <shutdownTimeout> <seed>`.
 * It publishes and revokes on command, and reports its own figures.
 */
const [connections, shutdownTimeout, seed] = process.argv.slice(2).map(Number) as [number, number, number]
const dice = chances(seed)
const lines = new Lines()
process.on('unhandledRejection',
  error => lines.wrong(`unhandled rejection: ${String((error as Error)?.stack ?? error)}`))

const keyOf = ({ headers }: FastifyRequest): string => String(headers['x-key'])
/** The keys that the next `reauthorize` rejects. */
const banned = new Set<string>()
const app = Fastify({ logger: { level: 'info', base: null, stream: lines } })
await app.register(sse, {
  heartbeatInterval: 2_000,
  stallTimeout: 4_000,
  shutdownTimeout,
  // Slightly more than the number of connections: requests beyond are rejected.
  limits: { maxStreams: connections + 20, maxStreamsPerKey: 2, keyGenerator: keyOf, retryAfter: 500 },
  reauthorize: async request => !banned.delete(keyOf(request)),
  reauthorizeInterval: 1_000
})
const channels = CHANNELS.map(({ name, options }) => app.sse.channel(name, options))
app.get('/:channel', (request, reply) => reply.sse(channels[Number((request.params as { channel: string }).channel)]!))

const numbers = CHANNELS.map(() => 0)
const wide = 'x'.repeat(PADDING)
const narrow = 'x'.repeat(120)
const publish = (channel: number): Promise<string> => {
  return channels[channel]!.publish({
    event: 'tick',
    data: { number: ++numbers[channel]!, padding: CHANNELS[channel]!.wide ? wide : narrow }
  })
}

const TICK = 20
const timers: Array<NodeJS.Timeout | undefined> = []
const every = (index: number, period: number, step: () => void): void => {
  clearInterval(timers[index])
  timers[index] = period === Infinity ? undefined : setInterval(step, period)
}

const duties = {
  /** Resolves to its port. */
  async listen (): Promise<number> {
    await app.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 })
    return (app.server.address() as AddressInfo).port
  },

  /** Sets the events per second of each ordinary channel; 0: none. */
  publish (rate: number) {
    const due = CHANNELS.map(() => Math.random())
    let then = performance.now()
    every(0, rate === 0 ? Infinity : TICK, () => {
      const now = performance.now()
      const seconds = (now - then) / 1_000
      then = now
      for (const [index, { pace }] of CHANNELS.entries()) {
        due[index]! += rate * pace * seconds
        for (; due[index]! >= 1; due[index]!--) publish(index)
      }
    })
  },

  /** Sets how many streams per second are disconnected in each of the two ways; 0: none. */
  revoke (rate: number) {
    every(1, rate === 0 ? Infinity : 1_000 / rate, () => {
      const open = app.sse.streams()
      const key = open[dice(open.length || 1)]?.key
      if (key === undefined) return
      if (dice(2) === 0) app.sse.disconnect(key, 'it is time')
      else banned.add(key)
    })
    if (rate === 0) banned.clear()
  },

  /** Publishes to each channel until its history is full. */
  async fill () {
    for (const [index, { options: { history } }] of CHANNELS.entries()) {
      for (let n = 0; n < history!.maxEvents!; n++) await publish(index)
    }
  },

  stats: () => app.sse.stats(),
  newest: () => numbers,

  /** The resources that keep the process alive, by kind. */
  handles (): Record<string, number> {
    const handles: Record<string, number> = {}
    for (const kind of process.getActiveResourcesInfo()) handles[kind] = (handles[kind] ?? 0) + 1
    return handles
  },

  /** The memory after a full collection, and the remaining counts of these keys. */
  async measure (keys: string[]) {
    for (let n = 0; n < 5; n++) {
      await turn()
      globalThis.gc!()
    }
    const { heapUsed: heap, external: buffers } = process.memoryUsage()
    return { heap, buffers, handles: duties.handles(), counted: keys.filter(key => countOf(key) > 0) }
  },

  /** Resolves to the milliseconds that it took. */
  async close (): Promise<number> {
    const began = performance.now()
    await app.close()
    const took = performance.now() - began
    for (const index of timers.keys()) every(index, Infinity, () => {})
    return took
  },

  lines: () => ({ counts: lines.counts, wrongs: lines.wrongs })
}

/** The internal counts of admission, which the package does not export. */
function countOf (key: string): number {
  const registrations =
    (app.server as unknown as Record<symbol, Iterable<{ countOf: (key: string) => number }>>)[
      Symbol.for('fastify-typed-sse.registrations')
    ]!
  let count = 0
  for (const streams of registrations) count += streams.countOf(key)
  return count
}

export type ServerDuties = typeof duties
serve(duties)
