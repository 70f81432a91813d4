import { setTimeout as pause } from 'node:timers/promises'
import { WIDE } from './channels.ts'
import type { Client } from './client.ts'
import { until } from '../setup/until.ts'
import type { World } from './world.ts'

// Milliseconds.
const FREEZE = 3_000
const MAX_ABSENCE = 1_500
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

  async 'Redis is killed' ({ redis, dice, diary }) {
    diary.happened('Redis is killed')
    await redis.kill()
    await pause(dice(MAX_ABSENCE))
    await redis.start()
    diary.happened('Redis is back')
  },

  async 'Redis is frozen' ({ redis, diary }) {
    diary.happened('Redis is frozen')
    await redis.freeze(FREEZE)
    diary.happened('Redis goes on')
  },

  async 'all clients are cut off' ({ entrance, diary }) {
    diary.happened(`${entrance.size} connections of clients are cut`)
    entrance.cut()
  },

  // The node does not know which commands Redis had executed, and has to read again.
  async 'answers of Redis are lost' ({ wire, diary }) {
    diary.happened(`answers on ${wire.size} connections to Redis are lost`)
    wire.lose()
    await until('answers are lost', () => wire.size > 0 && wire.hasLost)
    wire.cut()
    diary.happened('these connections are cut')
  },

  async 'a client stalls' (world) {
    const { dice, clients, diary } = world
    // A node without a connection to Redis would let no client fall behind.
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
