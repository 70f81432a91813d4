import type { EventEmitter } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

// What a test looks at that says: nothing is left.

setFlagsFromString('--expose-gc')
export const gc = runInNewContext('gc') as () => void

/** Bytes in memory when all that can go is gone: of the heap, and of the buffers beside it. */
export async function settledMemory (): Promise<{ heap: number, buffers: number }> {
  for (let n = 0; n < 5; n++) {
    await turn()
    gc()
  }
  const { heapUsed, external } = process.memoryUsage()
  return { heap: heapUsed, buffers: external }
}

/** What keeps the process alive of the kinds that a stream has. */
export const timersAndSockets = (): string[] => process.getActiveResourcesInfo().filter(name => name === 'Timeout' || name.startsWith('TCP')).sort()

/** How many listeners there are of each event. */
export const listeners = (emitter: EventEmitter): Map<string | symbol, number> => new Map(emitter.eventNames().map(name => [name, emitter.listenerCount(name)]))
