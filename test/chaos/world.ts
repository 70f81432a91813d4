import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chances } from '../setup/chances.ts'
import { CHANNELS, ORDINARY, WIDE } from './channels.ts'
import { Client } from './client.ts'
import { Diary } from './diary.ts'
import { Ledger } from './ledger.ts'
import { Member } from './member.ts'
import type { Head } from './messages.ts'
import { Relay } from '../setup/relay.ts'
import { STORES, type Store, type StoreName } from './store.ts'
import { until } from '../setup/until.ts'

export interface Owner { teardown: (fn: () => unknown) => unknown }

export interface Plan {
  log: StoreName
  seed: number
  clients: number
  /** Events per second, of all nodes together. */
  rate: number
  /** Prints the lines of the diary. */
  say: (line: string) => void
}

const NODES = 3
// The other nodes are connected to the store directly, so no other fault affects them.
const WIRED = NODES - 1
// One of them stalls; the other shows the events that it does not receive.
const CLIENTS_PER_WIDE = 2
// A client that waits for that many milliseconds is named.
const SLOW = 3_000
// Events per second: each channel still gets some, and each connection has traffic.
const MIN_RATE = 100

/** A store, nodes, clients, and the relays between them. */
export class World {
  readonly plan: Plan
  readonly diary: Diary
  readonly ledger: Ledger
  readonly dice: (below: number) => number
  readonly store: Store
  readonly members: readonly Member[]
  readonly clients: Client[] = []
  /** Between clients and nodes. */
  entrance!: Relay
  /** Between the last node and the store. */
  wire!: Relay
  readonly #folder = mkdtempSync(join(tmpdir(), 'chaos-'))
  #publishers = 0
  #rate: number

  private constructor (plan: Plan, store: Store) {
    this.plan = plan
    this.#rate = plan.rate
    this.store = store
    this.diary = new Diary(plan.say)
    this.ledger = new Ledger(this.diary)
    this.dice = chances(plan.seed)
    this.members = Array.from({ length: NODES }, (_, index) => new Member(index, {
      log: plan.log,
      storePort: () => index === WIRED ? this.wire.port : store.port,
      folder: this.#folder,
      seed: plan.seed,
      nextPublisher: () => ++this.#publishers,
      ledger: this.ledger
    }))
  }

  /** Resolves when events are published, and every client has a position. */
  static async start (t: Owner, plan: Plan): Promise<World> {
    const world = new World(plan, await STORES[plan.log].start(t))
    t.teardown(() => world.#tidy())
    world.wire = await Relay.start(t, () => [world.store.port])
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
  behind (heads: readonly Head[]): Client[] {
    return this.clients.filter(({ channel, epoch, position }) =>
      !this.ledger.reaches(channel, epoch, position, heads[channel]!))
  }

  /** Resolves when every client has received an event that was published after this call, or has another epoch. */
  async recover (): Promise<void> {
    const heads = CHANNELS.map((_, channel) => this.ledger.head(channel))
    const next = heads.map(({ epoch, newest }) => ({ epoch, newest: newest + 1 }))
    await this.reach('every client gets events', next, () => this.#pace(Math.max(this.#rate / 2, MIN_RATE)))
    this.ledger.checkEpochs()
    if (this.#rate < this.plan.rate) this.#pace(Math.min(this.#rate * 2, this.plan.rate))
  }

  /** `eased` is called from time to time while it lasts. */
  async reach (what: string, heads: readonly Head[], eased = () => {}): Promise<void> {
    const slow = setInterval(() => {
      const behind = this.behind(heads)
      this.diary.happened(`${behind.length} clients are not there yet: ${behind.slice(0, 3).join(', ')}`)
      eased()
    }, SLOW)
    try {
      await until(what, () => this.behind(heads).length === 0)
    } catch (error) {
      for (const client of this.behind(heads)) {
        this.diary.wrong(`${what}, but ${client} waits for ${Object.values(heads[client.channel]!).join('-')}`)
      }
      throw error
    } finally {
      clearInterval(slow)
    }
  }

  /** The state for debugging. */
  evidence (): string[] {
    copyFileSync(join(this.store.folder, 'log'), join(this.#folder, 'store.log'))
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
