import { chances } from '../setup/chances.ts'
import { until } from '../setup/until.ts'
import { channelsOf, CHANNELS } from './channels.ts'
import { serve } from './worker.ts'
import { Figures, Member, type Surroundings } from './member.ts'

/*
 * Many clients in a process: `crowd.ts <port> <members> <number of this crowd> <number of crowds> <seed>`.
 */
const [port, members, number, crowds, seed] = process.argv.slice(2).map(Number) as [number, number, number, number,
  number]
const dice = chances(seed)
const wrongs: string[] = []
const keys: string[] = []
const MAX_WRONGS = 20
const surroundings: Surroundings = {
  port,
  figures: new Figures(),
  dice,
  wrong: what => { if (wrongs.length < MAX_WRONGS) wrongs.push(what) },
  named: key => { keys.push(key) }
}
// The members of a channel are spread over the crowds.
const all = channelsOf(members).flatMap((channel, index) =>
  index % crowds === number ? [new Member(`m${index}`, channel, surroundings)] : []
)
const one = (): Member => all[dice(all.length)]!

/** The kinds of faults of clients, and how often each client has one in an hour. */
const FAULTS: Array<[perHour: number, happen: (member: Member) => void]> = [
  [20, member => member.drop('destroy')],
  [10, member => member.drop('resetAndDestroy')],
  [10, member => member.drop('end')],
  [20, member => member.stall(1_000 + dice(7_000))]
]
const wide = all.filter(({ channel }) => CHANNELS[channel]!.wide)
const TICK = 100
// Milliseconds.
const WIDE_STALL = 3_000
const OVER_KEY = 2_000
const OVER_TOTAL = 6_000
// Clients that are about to reconnect leave room.
const SURPLUS = 1 / 25
const MOST = 30_000

const timers: NodeJS.Timeout[] = []
let visitors = 0
/** A new group of a kind connects when the last one has disconnected. */
const visiting = new Set<boolean>()

/** That many short visits: with one key, or each with its own. */
async function visit (count: number, shared: boolean): Promise<void> {
  if (visiting.has(shared)) return
  visiting.add(shared)
  const name = `v${number}.${++visitors}`
  const guests = Array.from({ length: count },
    (_, index) => new Member(shared ? name : `${name}.${index}`, 0, surroundings))
  for (const guest of guests) {
    guest.returns = false
    guest.join()
  }
  // A listening process is busy.
  await until('visitors are answered', () => guests.every(({ answered }) => answered), MOST).catch(() => {})
  for (const guest of guests) guest.drop('destroy')
  visiting.delete(shared)
}

function begin (): void {
  const due = FAULTS.map(() => Math.random())
  timers.push(
    setInterval(() => {
      for (const [index, [perHour, happen]] of FAULTS.entries()) {
        due[index]! += all.length * perHour / 3_600_000 * TICK
        for (; due[index]! >= 1; due[index]!--) happen(one())
      }
    }, TICK),
    // Long enough that more is sent than the kernel buffers.
    setInterval(() => wide[dice(wide.length || 1)]?.stall(10_000 + dice(30_000)), WIDE_STALL),
    setInterval(() => visit(3, true), OVER_KEY),
    setInterval(() => visit(25 + Math.ceil(all.length * SURPLUS), false), OVER_TOTAL)
  )
}

// If connections exceed the queue of a busy server, TCP delays them for seconds, or a minute.
const AT_ONCE = 100

const duties = {
  /** Resolves when all of them are admitted. */
  async join () {
    for (let joined = 0; joined < all.length; joined += AT_ONCE) {
      const some = all.slice(joined, joined + AT_ONCE)
      for (const member of some) member.join()
      await until('some are admitted', () => some.every(({ admitted }) => admitted))
    }
  },

  faults: begin,

  /** Stops the faults. Resolves when every client is connected and up to date. */
  async calm (newest: number[]) {
    for (const timer of timers.splice(0)) clearInterval(timer)
    for (const member of all) member.readOn()
    await until('all short visits have ended', () => visiting.size === 0)
    const behind = (): Member[] =>
      all.filter(({ admitted, channel, place: { position = -1 } }) => !admitted || position < newest[channel]!)
    await until('all have got all', () => behind().length === 0).catch(() => {
      for (const member of behind()) {
        surroundings.wrong(`${member} is not at ${newest[member.channel]}${member.admitted ? '' : ', nor admitted'}`)
      }
    })
    for (const { channel, place } of all) {
      if (place.position! > newest[channel]!) surroundings.wrong(`${place.id} is beyond ${newest[channel]}`)
    }
  },

  leave () {
    for (const member of all) member.leave()
  },

  /** No client reconnects from now on. That many read nothing: a server that closes does not wait for them forever. */
  last (stalled: number) {
    for (const member of all) member.returns = false
    for (let n = 0; n < stalled; n++) all[n]!.stall(120_000)
  },

  /** Resolves when every client has received an end. Stalled clients do not count. */
  async endings () {
    const readers = all.filter(({ stalls }) => !stalls)
    await until('all have an end', () => readers.every(({ ended }) => ended !== undefined))
    return readers.map(({ ended }) => ended!)
  },

  report: () => ({ figures: surroundings.figures, wrongs, keys })
}

export type CrowdDuties = typeof duties
serve(duties)
