import { setTimeout as pause } from 'node:timers/promises'
import type { RedisClient } from './client.ts'
import type { Script } from './scripts.ts'

// Answers of a server that is starting, overloaded, or no longer the master after a failover. Redis 6.2 puts text
// before the message of a command within a script.
const TRANSIENT =
  /(?:^|^ERR Error running script .*-)(?:LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|NOREPLICAS) /
// Milliseconds between two attempts, doubled up to the maximum.
const RETRY_DELAYS = [20, 500] as const

/** An error that Redis answered with, as ioredis has it. */
export class ReplyError extends Error {
  override readonly name = 'ReplyError'
}

/** Whether Redis itself rejected the command. Every other error is an error of the connection. */
export const isRefusal = (error: unknown): error is Error => (error as Error | undefined)?.name === 'ReplyError'

/** Whether the next attempt may succeed. */
export const isTransient = (error: unknown): boolean => !isRefusal(error) || TRANSIENT.test(error.message)

/** Whether Redis has no memory for the write; then it wrote nothing. */
export const isFull = (error: unknown): boolean => isRefusal(error) && /(?:^|-)OOM /.test(error.message)

/**
 * Whether the keys are on another server of the cluster. The cluster client redirects a command; a single connection is
 * to the wrong server.
 */
export const hasMoved = (error: unknown): boolean => isRefusal(error) && error.message.startsWith('MOVED ')

/** Runs scripts, with retries. */
export class Commands {
  readonly #client: RedisClient
  #ready: Promise<void> | undefined

  constructor (client: RedisClient) {
    this.#client = client
  }

  /** Rejects when Redis rejects the script, when the client was closed, or when `isWanted` returns false. */
  async run<T> (
    script: Script<T>,
    keys: readonly string[],
    args: ReadonlyArray<string | number>,
    isWanted: () => boolean
  ): Promise<T> {
    let delay: number = RETRY_DELAYS[0]
    let reply: Buffer | undefined
    while (reply === undefined) {
      try {
        // Waits here, and not in the client's queue: so a command that is no longer wanted is not sent.
        await this.ready()
        if (!isWanted()) throw new Error('the caller no longer waits for the command')
        reply = await this.#send(script, keys, args)
      } catch (error) {
        if (!isTransient(error) || this.#client.status === 'end' || !isWanted()) throw error
        await pause(delay)
        delay = Math.min(delay * 2, RETRY_DELAYS[1])
      }
    }
    const decoded = script.decode(reply)
    // Another attempt would fail in the same way.
    if (decoded === undefined) throw new Error('Redis answered with something else than a script of this package does')
    return decoded
  }

  async #send (
    { sha, text }: Pick<Script, 'sha' | 'text'>,
    keys: readonly string[],
    args: ReadonlyArray<string | number>
  ): Promise<Buffer> {
    try {
      // In lower case: ioredis before 5.9 finds the keys of no other name, for its prefix and the server of a cluster.
      return await this.#client.callBuffer('evalsha', [sha, keys.length, ...keys, ...args]) as Buffer
    } catch (error) {
      if (!isRefusal(error) || !error.message.startsWith('NOSCRIPT')) throw error
      return await this.#client.callBuffer('eval', [text, keys.length, ...keys, ...args]) as Buffer
    }
  }

  /**
   * Resolves when a command can be sent, or will be rejected; undefined if that is now. Returns one promise for all
   * callers, so that the client has few listeners.
   */
  ready (): Promise<void> | undefined {
    const client = this.#client
    // A lazy client connects on its first command.
    if (client.status === 'ready' || client.status === 'wait' || client.status === 'end') return
    this.#ready ??= new Promise(resolve => {
      const settle = (): void => {
        client.off('ready', settle).off('end', settle)
        this.#ready = undefined
        resolve()
      }
      client.on('ready', settle).on('end', settle)
    })
    return this.#ready
  }
}
