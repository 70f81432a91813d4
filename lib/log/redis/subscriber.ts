// Two ways to receive the entries of other nodes: XREAD BLOCK over all streams, or a subscription whose messages
// contain the entries. Measured with 1,000 events/s (`npm run bench:logs -- --tails`, medians): with one channel, XREAD
// has a p50 of 0.35 ms against 0.30, and costs the node 215 µs of CPU per event against 106. With 10,000 channels it
// has a p50 of 15 ms against 0.5, a p99 of 125 ms against 14, and costs 567 µs against 85, because each call of XREAD
// names all of them again. A stream without a history cannot be read at all. Messages that a subscription loses show as
// a gap in the offsets, and the stream has the entries.

import { setTimeout as pause } from 'node:timers/promises'
import { isCluster, type RedisClient, type RedisConnection } from './client.ts'
import { hasMoved, isTransient } from './commands.ts'

/** Listens to the messages of one Redis channel. */
export interface RedisListener {
  /** Does not throw. */
  onMessage: (message: Buffer) => void
  /** Called when a connection is lost, and when another one has replaced it: resynchronize from the stream. */
  onLoss: () => void
}

/** A connection, and a promise that resolves when it can be used. */
interface Link { redis: RedisConnection, ready: Promise<void> }

/** The listeners of one Redis channel. */
interface RedisSubscription {
  channel: string
  listeners: Set<RedisListener>
  /** The connection that delivers its messages; undefined while there is none. */
  connection: RedisConnection | undefined
  /** An attempt to subscribe is under way. */
  subscribing: boolean
  /** Resolves after the first successful subscription; rejects on a permanent error. */
  ready: Promise<void>
}

// Milliseconds between two attempts to connect, doubled up to the maximum.
const RETRY_DELAYS = [20, 1_000] as const
// Milliseconds. A connection that does not answer a PING within this time is dead, whatever TCP reports.
const IDLE_TIMEOUT = 10_000

/**
 * Receives messages of Redis over one connection (in a cluster one per master, because a sharded channel lives with its
 * keys: SSUBSCRIBE). The first listener opens a connection. A lost connection is replaced, and its listeners are
 * notified that they may have missed messages.
 */
export class RedisSubscriber {
  readonly #client: RedisClient
  readonly #idleTimeout: number
  readonly #subscriptions = new Map<string, RedisSubscription>()
  /** Connections by server. */
  readonly #links = new Map<string, Link>()
  #delay: number = RETRY_DELAYS[0]
  #pingedAt = 0
  #pause: Promise<void> | undefined

  constructor (client: RedisClient, idleTimeout = IDLE_TIMEOUT) {
    this.#client = client
    this.#idleTimeout = idleTimeout
  }

  /** Resolves when all later messages will be received; rejects if Redis rejects the subscription. */
  subscribe (channel: string, listener: RedisListener): Promise<void> {
    let subscription = this.#subscriptions.get(channel)
    if (subscription === undefined) {
      subscription = {
        channel,
        listeners: new Set(),
        connection: undefined,
        subscribing: false,
        ready: Promise.resolve()
      }
      this.#subscriptions.set(channel, subscription)
      subscription.ready = this.#keepSubscribing(subscription)
      // The caller awaits the promise if it needs to know.
      subscription.ready.catch(() => {})
    }
    subscription.listeners.add(listener)
    return subscription.ready
  }

  unsubscribe (channel: string, listener: RedisListener): void {
    const subscription = this.#subscriptions.get(channel)
    if (subscription === undefined || !subscription.listeners.delete(listener) || subscription.listeners.size > 0) {
      return
    }
    this.#subscriptions.delete(channel)
    this.#unsubscribe(subscription)
  }

  /** Called about once a second: sends a PING over each connection. */
  tick (now: number): void {
    if (now - this.#pingedAt < this.#idleTimeout) return
    this.#pingedAt = now
    for (const { redis } of this.#links.values()) if (redis.status === 'ready') redis.ping().catch(() => {})
  }

  /** Removes all listeners and closes the connections; later listeners open new ones. */
  close (): void {
    this.#subscriptions.clear()
    for (const { redis } of this.#links.values()) redis.disconnect()
    this.#links.clear()
  }

  #isWanted (subscription: RedisSubscription): boolean {
    return this.#subscriptions.get(subscription.channel) === subscription
  }

  async #keepSubscribing (subscription: RedisSubscription): Promise<void> {
    subscription.subscribing = true
    try {
      while (this.#isWanted(subscription) && !await this.#trySubscribe(subscription)) await this.#backOff()
    } finally {
      subscription.subscribing = false
    }
  }

  async #trySubscribe (subscription: RedisSubscription): Promise<boolean> {
    try {
      const node = await this.#nodeOf(subscription.channel)
      // No listener is left to close the connection.
      if (!this.#isWanted(subscription)) return true
      const { redis, ready } = this.#linkTo(node)
      await ready
      if (!this.#isWanted(subscription)) return true
      subscription.connection = redis
      await (this.#client.isCluster ? redis.ssubscribe!(subscription.channel) : redis.subscribe(subscription.channel))
      return true
    } catch (error) {
      subscription.connection = undefined
      const { isCluster, status } = this.#client
      if (status === 'end' || !(isTransient(error) || (isCluster && hasMoved(error)))) throw error
      // The cluster client learns the new server of a slot from any command.
      if (isCluster) for (const listener of subscription.listeners) listener.onLoss()
      return false
    }
  }

  #unsubscribe ({ channel, connection }: RedisSubscription): void {
    if (connection?.status !== 'ready') return
    const done = this.#client.isCluster ? connection.sunsubscribe!(channel) : connection.unsubscribe(channel)
    done.catch(() => {})
  }

  /** Returns the delay that all attempts share. */
  #backOff (): Promise<void> {
    if (this.#pause === undefined) {
      this.#pause = pause(this.#delay).then(() => { this.#pause = undefined })
      this.#delay = Math.min(this.#delay * 2, RETRY_DELAYS[1])
    }
    return this.#pause
  }

  /** Returns the server that has the keys of that name. */
  async #nodeOf (channel: string): Promise<RedisConnection> {
    const client = this.#client
    if (!isCluster(client)) return client
    const slot = Number(await client.callBuffer('CLUSTER', ['KEYSLOT', channel]))
    const owner = client.slots[slot]?.[0]
    const node = client.nodes('master').find(({ options: { host, port } }) => `${host}:${port}` === owner)
    if (node === undefined) throw new Error(`No server of the cluster has the slot ${slot}`)
    return node
  }

  #linkTo (node: RedisConnection): Link {
    const name = `${node.options.host}:${node.options.port}`
    const link = this.#links.get(name) ?? this.#connect(node, name)
    this.#links.set(name, link)
    return link
  }

  #connect (node: RedisConnection, name: string): Link {
    const redis = node.duplicate({
      lazyConnect: true,
      keyPrefix: '',
      // A lost connection is not reopened: another one replaces it, possibly to another server.
      retryStrategy: () => null,
      autoResubscribe: false,
      maxRetriesPerRequest: null,
      enableOfflineQueue: true,
      readOnly: false,
      socketTimeout: this.#idleTimeout,
      connectionName: `${node.options.connectionName ?? 'fastify-typed-sse'}:tail`
    })
    const dispatch = (channel: Buffer, message: Buffer): void => {
      const subscription = this.#subscriptions.get(channel.toString())
      if (subscription?.connection === redis) for (const listener of subscription.listeners) listener.onMessage(message)
    }
    // The client has the same errors, and reports them to its user.
    redis.on('error', () => {})
    redis.on('messageBuffer', dispatch).on('smessageBuffer', dispatch)
    // The slot has moved to another server.
    redis.on('moved', () => redis.disconnect())
    const onEnd = (): void => {
      if (this.#links.get(name) === link) this.#links.delete(name)
      this.#replace(redis)
    }
    redis.once('end', onEnd)
    const ready = redis.connect().then(() => { this.#delay = RETRY_DELAYS[0] }, error => {
      redis.disconnect()
      onEnd()
      throw error
    })
    const link = { redis, ready }
    return link
  }

  #replace (connection: RedisConnection): void {
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.connection !== connection || subscription.subscribing) continue
      subscription.connection = undefined
      const notifyLoss = (): void => { for (const listener of subscription.listeners) listener.onLoss() }
      // Later messages may be of a server that was behind.
      notifyLoss()
      subscription.ready = this.#keepSubscribing(subscription)
      subscription.ready.then(notifyLoss, notifyLoss)
    }
  }
}
