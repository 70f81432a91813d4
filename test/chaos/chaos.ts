import type { Client } from './client.ts'
import { FAULTS } from './faults.ts'
import { report, type Suffered } from './report.ts'
import { World, type Owner, type Plan } from './world.ts'

export interface ChaosPlan extends Plan {
  /** The least number of faults, in rounds of which each has every kind once; and as many as begin within `seconds`. */
  faults: number
  seconds: number
}

export interface Outcome {
  rows: ReturnType<typeof report>
  /** The violations. */
  wrongs: readonly string[]
  /** Details for debugging. */
  evidence: readonly string[]
}

// One fault out of that many begins before the last one is recovered from.
const HASTE = 4

/**
 * Injects all kinds of faults, one after the other, while clients receive channels, and checks that each client
 * received everything once.
 */
export async function chaos (t: Owner, plan: ChaosPlan): Promise<Outcome> {
  const world = await World.start(t, plan)
  const { diary } = world
  const suffering = new Map(Object.keys(FAULTS).map(kind => [kind, { times: 0, longest: 0 }]))
  try {
    await world.recover()
    let round: string[] = []
    for (let faults = 0; faults < plan.faults || diary.seconds < plan.seconds; faults++) {
      if (round.length === 0) round = shuffled(Object.keys(FAULTS), world.dice)
      const kind = round.pop()!
      await suffer(world, kind, suffering.get(kind)!)
    }
    await settle(world)
  } catch (error) {
    diary.wrong((error as Error).stack ?? String(error))
  }
  const { wrongs } = diary
  return { rows: report(world, suffering), wrongs, evidence: wrongs.length === 0 ? [] : world.evidence() }
}

async function suffer (world: World, kind: string, suffered: Suffered): Promise<void> {
  const { diary, dice } = world
  await FAULTS[kind]!(world)
  suffered.times++
  if (dice(HASTE) === 0) return
  const since = diary.seconds
  await world.recover()
  suffered.longest = Math.max(suffered.longest, diary.seconds - since)
  diary.happened('every client gets events')
}

/** Stops the publishers, lets the clients read to the end, then checks the ledger. */
async function settle (world: World): Promise<void> {
  const { members, diary, ledger, clients } = world
  await world.recover()
  await Promise.all(members.map(member => member.rest()))
  diary.happened('publishers stop')
  const { heads } = await members[0]!.heads()
  await world.reach('every client gets all', heads)
  diary.happened('every client has got all')
  ledger.close(heads)
  for (const client of clients) {
    const missing = missingOf(client)
    if (missing !== undefined) diary.wrong(`${client} has ${missing}`)
  }
}

/** Checks that every offset from the client's start to its position was received, or reported as missing. */
function missingOf ({ start, position, spans }: Client): string | undefined {
  let last = start!
  for (const span of spans) {
    if (span.first !== last + 1) return `${span.first} to ${span.last} after ${last}`
    last = span.last
  }
  return last === position ? undefined : `nothing after ${last}`
}

function shuffled<T> (list: readonly T[], dice: (below: number) => number): T[] {
  const rest = [...list]
  return Array.from(list, () => rest.splice(dice(rest.length), 1)[0]!)
}
