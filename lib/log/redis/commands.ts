import { setTimeout as pause } from 'node:timers/promises'
import type { RedisClient } from './client.ts'
import { decodeReply, type ScriptReply } from './script-reply.ts'
import type { Script } from './scripts.ts'

// What a server answers that is about to be able to, or that is the wrong one since a failover.
// Redis 6.2 puts text before the message of a command within a script.
const TRANSIENT = /(?:^|^ERR Error running script .*-)(?:LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|NOREPLICAS) /
// Milliseconds between two tries, doubled up to the second.
const RETRY_DELAYS = [20, 500] as const

/** Whether Redis itself refused. Everything else is the connection's trouble. */
export const isRefusal = (error: unknown): error is Error => (error as Error | undefined)?.name === 'ReplyError'

/** Whether the next try may succeed. */
export const isTransient = (error: unknown): boolean => !isRefusal(error) || TRANSIENT.test(error.message)

/** Redis has no memory for the write, and wrote nothing. */
export const isFull = (error: unknown): boolean => isRefusal(error) && /(?:^|-)OOM /.test(error.message)

/** The keys are elsewhere in the cluster. Its client knows what to do with a command; a single one is at the wrong address. */
export const hasMoved = (error: unknown): boolean => isRefusal(error) && error.message.startsWith('MOVED ')

/** Runs scripts, as often as it takes. */
export class Commands {
  readonly #client: RedisClient
  #ready: Promise<void> | undefined

  constructor (client: RedisClient) {
    this.#client = client
  }

  /** Rejects when Redis refuses, when the client was closed, or when nobody wants it any more. */
  async run (script: Script, keys: readonly string[], args: ReadonlyArray<string | number>, isWanted: () => boolean): Promise<ScriptReply> {
    let delay: number = RETRY_DELAYS[0]
    let reply: Buffer | undefined
    while (reply === undefined) {
      try {
        // What waits with us, and not in the client's queue, is not sent when nobody waits for it any more.
        await this.#whenReady()
        if (!isWanted()) throw new Error('nobody waits for it any more')
        reply = await this.#send(script, keys, args)
      } catch (error) {
        if (!isTransient(error) || this.#client.status === 'end' || !isWanted()) throw error
        await pause(delay)
        delay = Math.min(delay * 2, RETRY_DELAYS[1])
      }
    }
    const decoded = decodeReply(reply)
    // Another attempt would fail in the same way.
    if (decoded === undefined) throw new Error('Redis answered with something else than a script of this package does')
    return decoded
  }

  async #send ({ sha, text }: Script, keys: readonly string[], args: ReadonlyArray<string | number>): Promise<Buffer> {
    try {
      return await this.#client.callBuffer('EVALSHA', sha, keys.length, ...keys, ...args) as Buffer
    } catch (error) {
      if (!isRefusal(error) || !error.message.startsWith('NOSCRIPT')) throw error
      return await this.#client.callBuffer('EVAL', text, keys.length, ...keys, ...args) as Buffer
    }
  }

  /** One wait for all: a client has few listeners, however many ask. */
  #whenReady (): Promise<void> | undefined {
    const client = this.#client
    // Lazy clients connect when they are asked.
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
