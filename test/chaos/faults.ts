import { setTimeout as pause } from 'node:timers/promises'
import { WIDE } from './channels.ts'
import type { Client } from './client.ts'
import { until } from '../setup/until.ts'
import type { World } from './world.ts'

// Milliseconds.
const FREEZE = 3_000
const MAX_ABSENCE = 1_500
const MAX_LAG = 1_000
const DELAY = 200
// Some clients stall for as long, with a history that is long enough.
const COMPANIONS = 5
// Events of a wide channel at once, fewer than its history holds; and how often at most.
const BURST = 15
const MAX_BURSTS = 60
// How many more are published after one that the relay no longer forwards: more than the kernel buffers and the history
// hold.
const STILL = 10

/** A fault of its kind in the world. Resolves when it is repaired. */
export const FAULTS: Record<string, (world: World) => Promise<void>> = {
  async 'a node is killed' (world) {
    const member = world.members[world.dice(world.members.length)]!
    world.diary.happened(`${member} is killed`)
    await member.kill()
    await member.start()
    world.publish(member)
    world.diary.happened(`${member} listens`)
  },

  'the store is killed': world => away(world, () => {}),

  'the store is killed and loses its data' (world) {
    return away(world, ({ store, ledger }) => {
      ledger.expectLoss()
      store.reset()
    })
  },

  // Like a failover to an asynchronous replica that is behind, and like the restore of a backup.
  async 'the store fails over to older data' (world) {
    await world.store.copy()
    world.diary.happened('the data is copied')
    await pause(world.dice(MAX_LAG))
    await away(world, ({ store, ledger }) => {
      ledger.expectLoss()
      store.restore()
    })
    // If the nodes that have known more were killed now, nothing would show the loss.
    await world.recover()
  },

  async 'the store is frozen' ({ store, diary }) {
    diary.happened('the store is frozen')
    await store.freeze(FREEZE)
    diary.happened('the store goes on')
  },

  async 'all clients are cut off' ({ entrance, diary }) {
    diary.happened(`${entrance.size} connections of clients are cut`)
    entrance.cut()
  },

  // The node does not know which commands were executed, and has to read again.
  async 'answers of the store are lost' ({ wire, diary }) {
    diary.happened(`answers on ${wire.size} connections to the store are lost`)
    wire.lose()
    await until('answers are lost', () => wire.size > 0 && wire.hasLost)
    wire.cut()
    diary.happened('these connections are cut')
  },

  // Half-open: the node has to give them up by itself.
  async 'connections to the store are silent' ({ wire, diary }) {
    diary.happened(`${wire.size} connections to the store are silent from now on`)
    wire.silence()
  },

  async 'connections to the store are slow' ({ wire, diary }) {
    diary.happened(`${wire.size} connections to the store are slow`)
    wire.delay(DELAY)
    await pause(FREEZE)
    wire.cut()
    diary.happened('these connections are cut')
  },

  async 'a client stalls' (world) {
    const { dice, clients, diary } = world
    // A node without a connection to the store would let no client fall behind.
    await world.recover()
    const channel = WIDE[dice(WIDE.length)]!
    const stalled = clients.find(client => client.channel === channel)!
    const companions = Array.from({ length: COMPANIONS }, () => clients[dice(clients.length)]!).filter(client =>
      client.channel !== channel
    )
    diary.happened(`${stalled} stalls, and with it ${companions.join(', ')}`)
    for (const client of [stalled, ...companions]) client.pause()
    await fill(world, stalled)
    for (const client of [stalled, ...companions]) client.resume()
    diary.happened(`${stalled} reads on`)
  }
}

/** Kills the store, and starts it again with the data that remains. */
async function away (world: World, change: (world: World) => void): Promise<void> {
  const { store, dice, diary } = world
  diary.happened('the store is killed')
  await store.kill('SIGKILL')
  change(world)
  await pause(dice(MAX_ABSENCE))
  await store.start()
  diary.happened('the store is back')
}

/** Publishes until nothing more is read for a client, then beyond the history. */
async function fill ({ members, dice, diary, clients, entrance, ledger }: World, stalled: Client): Promise<void> {
  const { channel } = stalled
  const others = clients.filter(client => client.channel === channel && client !== stalled)
  let [bursts, before, still] = [0, -1, 0]
  while (still < STILL && bursts < MAX_BURSTS) {
    await members[dice(members.length)]!.burst(channel, BURST)
    const newest = ledger.newest(channel)
    // As fast as the reading clients can receive: no other client falls behind.
    await until('the reading clients keep up', () => others.every(({ position }) => position >= newest))
    bursts++
    const taken = entrance.taken(stalled.localPort)
    still = taken === before ? still + 1 : 0
    before = taken
  }
  diary.happened(`after ${bursts * BURST} events nothing more is taken than ${before} bytes`)
}
