import { spawnSync } from 'node:child_process'

export interface Cores { server: number, client: number }

const taskset = (...args: string[]): string => spawnSync('taskset', args, { encoding: 'utf8' }).stdout ?? ''

/**
 * Pins this process, the load generator, to one core, and returns another for the servers. Returns undefined without
 * taskset or a second core.
 */
export function divideCores (): Cores | undefined {
  // "pid 42's current affinity list: 0-2,5"
  const list = /: ([\d,-]+)\s*$/.exec(taskset('-c', '-p', String(process.pid)))?.[1]
  if (list === undefined) return undefined
  const cores = list.split(',').flatMap(range => range.split('-').map(Number))
  // The outermost two cores: adjacent ones may be two threads of one core.
  const client = Math.min(...cores)
  const server = Math.max(...cores)
  if (client === server) return undefined
  taskset('-a', '-c', '-p', String(client), String(process.pid))
  return { server, client }
}
