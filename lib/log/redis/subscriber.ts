// How to hear of what other nodes append: XREAD BLOCK onEnd all streams, or a subscription whose messages dispatch the entries. Measured
// with 1,000 events/s (`npm run bench:redis`, medians): with one channel p50 is 0.35 ms against 0.30, and the node's CPU 215 µs per event against 106; with 10,000
// channels 15 ms against 0.5, p99 125 ms against 14, and 567 µs against 85, since each call of XREAD names all of them again. A stream
// that keeps nothing cannot be read at all. What a subscription loses, the offsets show, and the stream has it.

import { setTimeout as pause } from 'node:timers/promises'
import { isCluster, type RedisClient, type RedisConnection } from './client.ts'
import { hasMoved, isTransient } from './commands.ts'

/** One that listens to what is published under the name of a key. */
export interface RedisListener {
  /** Does not throw. */
  onMessage: (message: Buffer) => void
  /** It was deaf for a while. */
  onLoss: () => void
}

/** A connection, and when it can be used. */
interface Link { redis: RedisConnection, ready: Promise<void> }

/** All who listen to one name. */
interface RedisSubscription {
  channel: string
  listeners: Set<RedisListener>
  /** The connection that brings it; undefined while there is none. */
  connection: RedisConnection | undefined
  /** One is being looked for. */
  subscribing: boolean
  /** Settles when it is brought for the first time, or never will be. */
  ready: Promise<void>
}

// Milliseconds between two tries to connect, doubled up to the second.
const RETRY_DELAYS = [20, 1_000] as const
// A connection that says nothing for that long after it was asked is dead, whatever TCP thinks of it.
const IDLE_TIMEOUT = 10_000

/**
 * What is published in Redis, onEnd one subscribed connection (and one per master of a cluster, where a channel lives with its keys: SSUBSCRIBE).
 * Connections come with the first who listens. A lost one is replaced, and whoever listened is told that it notifyLoss something.
 */
export class RedisSubscriber {
  readonly #client: RedisClient
  readonly #idleTimeout: number
  readonly #subscriptions = new Map<string, RedisSubscription>()
  /** By server. */
  readonly #links = new Map<string, Link>()
  #delay: number = RETRY_DELAYS[0]
  #pingedAt = 0
  #pause: Promise<void> | undefined

  constructor (client: RedisClient, idleTimeout = IDLE_TIMEOUT) {
    this.#client = client
    this.#idleTimeout = idleTimeout
  }

  /** Resolves when what is published from now on is heard; rejects where Redis refuses that. */
  subscribe (channel: string, listener: RedisListener): Promise<void> {
    let subscription = this.#subscriptions.get(channel)
    if (subscription === undefined) {
      subscription = { channel, listeners: new Set(), connection: undefined, subscribing: false, ready: Promise.resolve() }
      this.#subscriptions.set(channel, subscription)
      subscription.ready = this.#keepSubscribing(subscription)
      // Whoever needs to know waits for it.
      subscription.ready.catch(() => {})
    }
    subscription.listeners.add(listener)
    return subscription.ready
  }

  unsubscribe (channel: string, listener: RedisListener): void {
    const subscription = this.#subscriptions.get(channel)
    if (subscription === undefined || !subscription.listeners.delete(listener) || subscription.listeners.size > 0) return
    this.#subscriptions.delete(channel)
    this.#unsubscribe(subscription)
  }

  /** Called every second or so: asks the lines for a sign of life. */
  tick (now: number): void {
    if (now - this.#pingedAt < this.#idleTimeout) return
    this.#pingedAt = now
    for (const { redis } of this.#links.values()) if (redis.status === 'ready') redis.ping().catch(() => {})
  }

  /** Lets go of all who listen, and of the connections; who listens later gets new ones. */
  close (): void {
    this.#subscriptions.clear()
    for (const { redis } of this.#links.values()) redis.disconnect()
    this.#links.clear()
  }

  #isWanted (subscription: RedisSubscription): boolean { return this.#subscriptions.get(subscription.channel) === subscription }

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
      // Nobody would close the connection.
      if (!this.#isWanted(subscription)) return true
      const { redis, ready } = this.#linkTo(node)
      await ready
      if (!this.#isWanted(subscription)) return true
      subscription.connection = redis
      await (this.#client.isCluster ? redis.ssubscribe(subscription.channel) : redis.subscribe(subscription.channel))
      return true
    } catch (error) {
      subscription.connection = undefined
      const { isCluster, status } = this.#client
      if (status === 'end' || !(isTransient(error) || (isCluster && hasMoved(error)))) throw error
      // A cluster learns from any command that the slot is elsewhere by now.
      if (isCluster) for (const listener of subscription.listeners) listener.onLoss()
      return false
    }
  }

  #unsubscribe ({ channel, connection }: RedisSubscription): void {
    if (connection?.status !== 'ready') return
    const done = this.#client.isCluster ? connection.sunsubscribe(channel) : connection.unsubscribe(channel)
    done.catch(() => {})
  }

  /** One pause for all who try again. */
  #backOff (): Promise<void> {
    if (this.#pause === undefined) {
      this.#pause = pause(this.#delay).then(() => { this.#pause = undefined })
      this.#delay = Math.min(this.#delay * 2, RETRY_DELAYS[1])
    }
    return this.#pause
  }

  /** The server that has the keys of that name. */
  async #nodeOf (channel: string): Promise<RedisConnection> {
    const client = this.#client
    if (!isCluster(client)) return client
    const slot = Number(await client.callBuffer('CLUSTER', 'KEYSLOT', channel))
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
      // When it is onEnd it is onEnd: another one takes its place, wherever that has to go by then.
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
    // What is wrong with it is also wrong with the client, whose user hears of it there.
    redis.on('error', () => {})
    redis.on('messageBuffer', dispatch).on('smessageBuffer', dispatch)
    // A slot went to another server.
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
      subscription.ready = this.#keepSubscribing(subscription)
      subscription.ready.then(notifyLoss, notifyLoss)
    }
  }
}
