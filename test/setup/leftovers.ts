import type { EventEmitter } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

// Checks that nothing is left after a test.

setFlagsFromString('--expose-gc')
export const gc = runInNewContext('gc') as () => void

/** Bytes of heap and buffers after a full collection. */
export async function settledMemory (): Promise<{ heap: number, buffers: number }> {
  for (let n = 0; n < 5; n++) {
    await turn()
    gc()
  }
  const { heapUsed, external } = process.memoryUsage()
  return { heap: heapUsed, buffers: external }
}

/** The active resources of the kinds that a stream uses. */
export const timersAndSockets = (): string[] =>
  process.getActiveResourcesInfo().filter(name => name === 'Timeout' || name.startsWith('TCP')).sort()

/** The number of listeners of each event. */
export const listeners = (emitter: EventEmitter): Map<string | symbol, number> =>
  new Map(emitter.eventNames().map(name => [name, emitter.listenerCount(name)]))
