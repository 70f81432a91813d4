import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { Supervisor } from './supervisor.ts'

const NAMES = ['redis-server', 'valkey-server']
// The folder of server programs, which is not in every PATH.
const SERVERS = '/usr/sbin'
// The time limit of one attempt to connect, and the delay between two, in milliseconds.
const ATTEMPT_TIMEOUT = 1_000
const RETRY_DELAY = 20

/** A Redis whose data and socket are in the folder. `url` is the address for ioredis. */
export function redisIn (folder: string): { url: string, supervisor: Supervisor } {
  const program = find()
  // A socket: another program could take a port before Redis is restarted.
  const url = join(folder, 'redis.sock')
  const args = ['--port', '0', '--unixsocket', url, '--dir', folder, '--save', '',
    // Redis answers only after the event is written, so a crash loses no acknowledged event.
    '--appendonly', 'yes', '--appendfsync', 'always',
    '--logfile', join(folder, 'log')]
  const supervisor = new Supervisor('Redis', {
    // In its own process group: Ctrl-C reaches only this process, which then stops Redis.
    spawn: () => spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'], detached: true }),
    ready: async (_child, exited) => { await waitForRedis(url, exited) }
  })
  return { url, supervisor }
}

/** Resolves when Redis answers. Rejects when the signal aborts. */
export async function waitForRedis (url: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    signal.throwIfAborted()
    // Without ioredis's own retries, which could not be aborted between two attempts.
    const client = new Redis(url, {
      lazyConnect: true,
      retryStrategy: () => null,
      connectTimeout: ATTEMPT_TIMEOUT,
      commandTimeout: ATTEMPT_TIMEOUT
    })
    client.on('error', () => {})
    try {
      await client.connect()
      await client.ping()
      return
    } catch {
      await sleep(RETRY_DELAY, undefined, { signal })
    } finally {
      client.disconnect()
    }
  }
}

function find (): string {
  const { REDIS_SERVER_PATH: configured, PATH = '' } = process.env
  const candidates = configured === undefined
    ? NAMES.flatMap(name => [...PATH.split(delimiter), SERVERS].map(folder => join(folder, name)))
    : [configured]
  const found = candidates.find(isProgram)
  if (found === undefined) {
    throw new Error(
      'Redis was not found: apt-get install redis-server, or set REDIS_SERVER_PATH to its path, or REDIS_URL to a running one'
    )
  }
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
