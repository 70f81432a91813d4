import { EventEmitter } from 'node:events'
import type { RedisClientOptions, RedisConnection } from './client.ts'
import { ReplyError } from './commands.ts'

type MessageListener = (message: Buffer, channel: Buffer) => unknown

interface NodeRedisOptions {
  readonly database?: number | undefined
  readonly name?: string | undefined
  readonly keyPrefix?: string | undefined
  readonly socket?: object | undefined
}

/**
 * The used part of a client of node-redis: fits any `createClient()` of `redis` 5 and 6, from any copy of the package.
 */
export interface NodeRedisClient extends Pick<EventEmitter, 'on' | 'off'> {
  readonly isOpen: boolean
  readonly isReady: boolean
  readonly options: NodeRedisOptions
  sendCommand (args: string[], options?: object): Promise<unknown>
  duplicate (overrides?: object): NodeRedisClient
  connect (): Promise<unknown>
  destroy (): void
  subscribe (channel: string, listener: MessageListener, bufferMode: true): Promise<unknown>
  unsubscribe (channel: string): Promise<unknown>
}

/** Options of the connection for messages. */
interface TailOptions { readonly socketTimeout?: number, readonly connectionName?: string }

// Bulk strings are answered as buffers: RESP_TYPES.BLOB_STRING.
const TYPES = { 36: Buffer }
// The first word of an answer of Redis or of a script. Messages of the client and of sockets begin with no such word.
const REPLY = /^[A-Z]{2,} /

/** Whether the value is a client of node-redis, and no pool, cluster or sentinel. */
export function isNodeRedis (value: object): value is NodeRedisClient {
  const methods = ['sendCommand', 'duplicate', 'destroy', 'subscribe'] as const
  const other = 'slots' in value || 'getSentinelNode' in value
  return !other && 'isReady' in value && methods.every(name => typeof (value as NodeRedisClient)[name] === 'function')
}

/** A client of node-redis as the log uses one of ioredis: its statuses, events and errors. */
export class NodeRedisConnection extends EventEmitter implements RedisConnection {
  readonly isCluster = false
  readonly options: RedisClientOptions
  readonly #client: NodeRedisClient
  readonly #socketTimeout: number
  #ended = false
  /**
   * Aborts the commands that the current connection has not written. Each has its own signal: one signal with the
   * listeners of thousands of commands searches all of them for each.
   */
  readonly #aborts = new Set<AbortController>()

  constructor (client: NodeRedisClient, { socketTimeout = 0 }: TailOptions = {}) {
    super()
    this.setMaxListeners(0)
    this.#client = client
    this.#socketTimeout = socketTimeout
    const { database = 0, keyPrefix = '', name, socket } = client.options
    this.options = { ...socket, db: database, keyPrefix, connectionName: name }
    client.on('ready', () => {
      this.#ended = false
      this.emit('ready')
    })
    client.on('end', () => this.#end())
    // The user of the client has the same errors.
    client.on('error', () => {
      // The client writes in the next turn of the loop, also to a connection that was lost meanwhile. Such a command
      // gets the next answer of the new connection, and each later one the answer of the command before it.
      for (const abort of this.#aborts) abort.abort()
      // A client that gives up reconnecting reports only an error.
      if (!client.isOpen) this.#end()
    })
  }

  /** `connecting` also before the user connects the client. */
  get status (): string {
    if (this.#client.isReady) return 'ready'
    return this.#ended && !this.#client.isOpen ? 'end' : 'connecting'
  }

  /** Sends EVAL or EVALSHA. */
  async callBuffer (name: string, args: ReadonlyArray<string | number>): Promise<unknown> {
    const abort = new AbortController()
    this.#aborts.add(abort)
    try {
      return await this.#send([name, ...args.map(String)], abort.signal)
    } finally {
      this.#aborts.delete(abort)
    }
  }

  async #send (command: string[], abortSignal: AbortSignal): Promise<unknown> {
    try {
      return await this.#client.sendCommand(this.#prefixed(command), { typeMapping: TYPES, abortSignal })
    } catch (error) {
      throw toReplyError(error)
    }
  }

  duplicate (options: TailOptions): NodeRedisConnection {
    const client = this.#client.duplicate({
      name: options.connectionName,
      // A lost connection is not reopened: another one replaces it.
      socket: { ...this.#client.options.socket, reconnectStrategy: false },
      disableOfflineQueue: false,
      keyPrefix: undefined,
      commandsQueueMaxLength: undefined
    })
    return new NodeRedisConnection(client, options)
  }

  async connect (): Promise<void> { await this.#client.connect() }

  disconnect (): void {
    if (this.#client.isOpen) this.#client.destroy()
    this.#end()
  }

  /** Closes the connection if the answer does not arrive in time. */
  async ping (): Promise<unknown> {
    const timer = setTimeout(() => this.disconnect(), this.#socketTimeout)
    try {
      return await this.#client.sendCommand(['PING'])
    } finally {
      clearTimeout(timer)
    }
  }

  async subscribe (channel: string): Promise<unknown> {
    const listener = (message: Buffer, from: Buffer): void => { this.emit('messageBuffer', from, message) }
    try {
      return await this.#client.subscribe(channel, listener, true)
    } catch (error) {
      throw toReplyError(error)
    }
  }

  unsubscribe (channel: string): Promise<unknown> { return this.#client.unsubscribe(channel) }

  /** The client adds its `keyPrefix` to no command that is sent as it is. */
  #prefixed ([name, script, count, ...args]: string[]): string[] {
    const { keyPrefix } = this.options
    const keys = keyPrefix === '' ? 0 : Number(count)
    return [name!, script!, count!, ...args.map((arg, n) => n < keys ? keyPrefix + arg : arg)]
  }

  #end (): void {
    if (this.#ended) return
    this.#ended = true
    this.emit('end')
  }
}

function toReplyError (error: unknown): unknown {
  return error instanceof Error && REPLY.test(error.message) ? new ReplyError(error.message, { cause: error }) : error
}
