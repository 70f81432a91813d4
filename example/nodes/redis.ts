import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { Keeper } from './keeper.ts'

const NAMES = ['redis-server', 'valkey-server']
// Where a system keeps servers; not everybody's PATH has it.
const SERVERS = '/usr/sbin'
// Milliseconds for one try to reach it, and between two.
const TRY = 1_000
const PAUSE = 20

/** A Redis of our own, whose data and socket are in the folder: `url` is what a client of ioredis takes. */
export function redisIn (folder: string): { url: string, keeper: Keeper } {
  const program = find()
  // A socket, since a port could be somebody else's by the time that Redis comes back.
  const url = join(folder, 'redis.sock')
  const args = ['--port', '0', '--unixsocket', url, '--dir', folder, '--save', '',
    // An answer means that the event is written: a crash loses nothing that anybody was told of.
    '--appendonly', 'yes', '--appendfsync', 'always',
    '--logfile', join(folder, 'log')]
  const keeper = new Keeper('Redis', {
    // In a group of its own: Ctrl-C is for us, and we say when it stops.
    spawn: () => spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'], detached: true }),
    ready: async (_child, gone) => { await answers(url, gone) }
  })
  return { url, keeper }
}

/** Resolves when Redis answers; rejects when the signal says that nobody waits for it. */
export async function answers (url: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted()
    // A client that tries again by itself could not be stopped between two tries.
    const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null, connectTimeout: TRY, commandTimeout: TRY })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.ping()
      return
    } catch {
      await pause(PAUSE, undefined, { signal })
    } finally {
      client.disconnect()
    }
  }
}

function find (): string {
  const { REDIS_SERVER_PATH: told, PATH = '' } = process.env
  const places = told === undefined ? NAMES.flatMap(name => [...PATH.split(delimiter), SERVERS].map(folder => join(folder, name))) : [told]
  const found = places.find(isProgram)
  if (found === undefined) throw new Error('There is no Redis here: apt-get install redis-server, or set REDIS_SERVER_PATH to where it is, or REDIS_URL to one that runs')
  return found
}

function isProgram (file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
