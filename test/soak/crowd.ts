import { chances } from '../setup/chances.ts'
import { until } from '../setup/until.ts'
import { channelsOf, CHANNELS } from './channels.ts'
import { serve } from './colleague.ts'
import { Figures, Member, type Surroundings } from './member.ts'

/*
 * Many clients in a process: `crowd.ts <port> <members> <number of this crowd> <of how many> <seed>`.
 */
const [port, members, number, crowds, seed] = process.argv.slice(2).map(Number) as [number, number, number, number, number]
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
// Those of a channel are spread over the crowds.
const all = channelsOf(members).flatMap((channel, index) => index % crowds === number ? [new Member(`m${index}`, channel, surroundings)] : [])
const one = (): Member => all[dice(all.length)]!

/** What goes wrong with clients, and how often with each of them in an hour. */
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
// Those who are on their way back leave room.
const SURPLUS = 1 / 25
const MOST = 30_000

const timers: NodeJS.Timeout[] = []
let visitors = 0
/** Those of a kind come when the last ones have gone. */
const visiting = new Set<boolean>()

/** So many who stay for a moment: with one key, or each with its own. */
async function visit (count: number, shared: boolean): Promise<void> {
  if (visiting.has(shared)) return
  visiting.add(shared)
  const name = `v${number}.${++visitors}`
  const guests = Array.from({ length: count }, (_, index) => new Member(shared ? name : `${name}.${index}`, 0, surroundings))
  for (const guest of guests) {
    guest.returns = false
    guest.join()
  }
  // Who listens has much to do.
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
    // Long enough that more comes than the kernel takes.
    setInterval(() => wide[dice(wide.length || 1)]?.stall(10_000 + dice(30_000)), WIDE_STALL),
    setInterval(() => visit(3, true), OVER_KEY),
    setInterval(() => visit(25 + Math.ceil(all.length * SURPLUS), false), OVER_TOTAL)
  )
}

// Whom a busy server lets wait longer than its queue is long, TCP lets wait for seconds, or for a minute.
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

  /** Nothing goes wrong any more. Resolves when everybody is there and has got all. */
  async calm (newest: number[]) {
    for (const timer of timers.splice(0)) clearInterval(timer)
    for (const member of all) member.readOn()
    await until('visitors have gone', () => visiting.size === 0)
    const behind = (): Member[] => all.filter(({ admitted, channel, place: { position = -1 } }) => !admitted || position < newest[channel]!)
    await until('all have got all', () => behind().length === 0).catch(() => {
      for (const member of behind()) surroundings.wrong(`${member} is not at ${newest[member.channel]}${member.admitted ? '' : ', nor admitted'}`)
    })
    for (const { channel, place } of all) {
      if (place.position! > newest[channel]!) surroundings.wrong(`${place.id} is beyond ${newest[channel]}`)
    }
  },

  leave () {
    for (const member of all) member.leave()
  },

  /** Nobody comes back from now on. So many read nothing: a server that closes does not wait for them for ever. */
  last (stalled: number) {
    for (const member of all) member.returns = false
    for (let n = 0; n < stalled; n++) all[n]!.stall(120_000)
  },

  /** Resolves when everybody has got an end. Who stalled does not count. */
  async endings () {
    const readers = all.filter(({ stalls }) => !stalls)
    await until('all have an end', () => readers.every(({ ended }) => ended !== undefined))
    return readers.map(({ ended }) => ended!)
  },

  report: () => ({ figures: surroundings.figures, wrongs, keys })
}

export type CrowdDuties = typeof duties
serve(duties)
