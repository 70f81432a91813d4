import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chances } from '../setup/chances.ts'
import { RedisServer } from '../setup/redis.ts'
import { CHANNELS, ORDINARY, WIDE } from './channels.ts'
import { Client } from './client.ts'
import { Diary } from './diary.ts'
import { Ledger } from './ledger.ts'
import { Member } from './member.ts'
import { Relay } from '../setup/relay.ts'
import { until } from '../setup/until.ts'

export interface Owner { teardown: (fn: () => unknown) => unknown }

export interface Plan {
  seed: number
  clients: number
  /** Events per second, of all nodes together. */
  rate: number
  /** Prints the lines of the diary. */
  say: (line: string) => void
}

const NODES = 3
// The other nodes are connected to Redis directly, so no other fault affects them.
const WIRED = NODES - 1
// One of them stalls; the other shows the events that it does not receive.
const CLIENTS_PER_WIDE = 2
// A client that waits for that many milliseconds is named.
const SLOW = 3_000

/** Redis, nodes, clients, and the relays between them. */
export class World {
  readonly plan: Plan
  readonly diary: Diary
  readonly ledger: Ledger
  readonly dice: (below: number) => number
  readonly redis: RedisServer
  readonly members: readonly Member[]
  readonly clients: Client[] = []
  /** Between clients and nodes. */
  entrance!: Relay
  /** Between the last node and Redis. */
  wire!: Relay
  readonly #folder = mkdtempSync(join(tmpdir(), 'chaos-'))
  #publishers = 0
  #rate: number

  private constructor (plan: Plan, redis: RedisServer) {
    this.plan = plan
    this.#rate = plan.rate
    this.redis = redis
    this.diary = new Diary(plan.say)
    this.ledger = new Ledger(this.diary)
    this.dice = chances(plan.seed)
    this.members = Array.from({ length: NODES }, (_, index) => new Member(index, {
      redisPort: () => index === WIRED ? this.wire.port : redis.port,
      folder: this.#folder,
      seed: plan.seed,
      nextPublisher: () => ++this.#publishers,
      ledger: this.ledger
    }))
  }

  /** Resolves when events are published, and every client has a position. */
  static async start (t: Owner, plan: Plan): Promise<World> {
    // Redis answers after a write and sync: with another appendfsync, acknowledged events can be lost in a crash, and a
    // new epoch would be correct.
    const world = new World(plan, await RedisServer.start(t, '--appendonly', 'yes', '--appendfsync', 'always'))
    t.teardown(() => world.#tidy())
    world.wire = await Relay.start(t, () => [world.redis.port])
    world.entrance = await Relay.start(t, () => world.members.flatMap(({ port }) => port ?? []))
    t.teardown(() => Promise.all(world.members.map(member => member.kill())))
    await Promise.all(world.members.map(member => member.start()))
    for (const member of world.members) world.publish(member)
    // They connect while events are published.
    world.#populate(t)
    await until('every client knows where it is', () => world.clients.every(({ start }) => start !== undefined))
    world.diary.happened(`${world.clients.length} clients, ${world.members.join(', ')}`)
    return world
  }

  publish (member: Member): void { member.publish(this.#rate / NODES) }

  /** The clients that are not at the position of their channel. */
  behind (newest: readonly number[]): Client[] {
    return this.clients.filter(({ channel, position }) => position < newest[channel]!)
  }

  /** Resolves when every client has received an event that was published after this call. */
  async recover (): Promise<void> {
    const newest = CHANNELS.map((_, channel) => this.ledger.newest(channel) + 1)
    await this.reach('every client gets events', newest, () => this.#pace(this.#rate / 2))
    if (this.#rate < this.plan.rate) this.#pace(this.#rate * 2)
  }

  /** `eased` is called from time to time while it lasts. */
  async reach (what: string, newest: readonly number[], eased = () => {}): Promise<void> {
    const slow = setInterval(() => {
      const behind = this.behind(newest)
      this.diary.happened(`${behind.length} clients are not there yet: ${behind.slice(0, 3).join(', ')}`)
      eased()
    }, SLOW)
    try {
      await until(what, () => this.behind(newest).length === 0)
    } catch (error) {
      for (const client of this.behind(newest)) {
        this.diary.wrong(`${what}, but ${client} waits for ${newest[client.channel]}`)
      }
      throw error
    } finally {
      clearInterval(slow)
    }
  }

  /** The state for debugging. */
  evidence (): string[] {
    copyFileSync(join(this.redis.folder, 'log'), join(this.#folder, 'redis.log'))
    writeFileSync(join(this.#folder, 'diary'), `${this.diary.lines.join('\n')}\n`)
    const words = this.members.flatMap(member => [`last lines of ${member}:`, ...member.lastWords(8)])
    return [`The diary and all logs are in ${this.#folder}`, ...words]
  }

  /** Reduces the load on a busy machine, and restores it later. */
  #pace (rate: number): void {
    this.#rate = rate
    for (const member of this.members) this.publish(member)
    this.diary.happened(`${rate} events per second are published`)
  }

  #populate (t: Owner): void {
    const { plan: { seed, clients }, entrance: { port }, ledger, diary } = this
    const wide = WIDE.flatMap(channel => Array<number>(CLIENTS_PER_WIDE).fill(channel))
    const channels = [...wide,
      ...Array.from({ length: Math.max(0, clients - wide.length) }, (_, index) => index % ORDINARY)]
    this.clients.push(
      ...channels.map((channel, index) =>
        new Client(index, channel, { port, ledger, diary, dice: chances(seed + index) })
      )
    )
    t.teardown(() => {
      for (const client of this.clients) client.stop()
    })
    for (const client of this.clients) client.connect()
  }

  #tidy (): void {
    if (this.diary.wrongs.length === 0) rmSync(this.#folder, { recursive: true, force: true })
  }
}
