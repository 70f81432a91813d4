import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { Contestant } from './contestant.ts'
import { stall } from './reader.ts'
import { table } from './table.ts'

const NOTICED = ['signal', 'return', 'finally', 'settled'] as const
// By then the kernel's buffers of both sides are full, and the server waits for a client that does not read.
const STALL = 100

type Left = Record<typeof NOTICED[number], number>

/**
 * How soon the handler is notified of a disconnect: the signal, the source's `return()` and `finally`, the end of
 * `reply.sse()`.
 */
export async function leaving (server: Contestant, { visits }: { visits: number }): Promise<string> {
  const rows: string[][] = []
  for (const [path, what] of [['/silent', 'the source waits'], ['/endless', 'the client does not read']] as const) {
    const times: Left[] = []
    for (let n = 0; n < visits; n++) times.push(await visit(server, path))
    rows.push([what, ...NOTICED.map(name => medianAndMost(times.map(left => left[name])))])
  }
  return table([`${visits} clients that disconnect, one after the other`, 'signal, ms', '`return()`, ms', '`finally`, ms',
    '`reply.sse()` settles, ms'], rows)
}

async function visit (server: Contestant, path: string): Promise<Left> {
  const socket = stall(server.port, path)
  if (path === '/silent') {
    socket.resume()
    await once(socket, 'data')
  } else {
    await delay(STALL)
  }
  const leftAt = Number(process.hrtime.bigint() / 1000n)
  socket.resetAndDestroy()
  const left = await server.request<Left>('left')
  return Object.fromEntries(NOTICED.map(name => [name, left[name] - leftAt])) as Left
}

function medianAndMost (times: number[]): string {
  const sorted = times.map(time => time / 1_000).sort((a, b) => a - b)
  return `${sorted[sorted.length >> 1]!.toFixed(2)} (≤ ${sorted.at(-1)!.toFixed(2)})`
}
