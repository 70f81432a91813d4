import type { Contestant } from './contestant.ts'
import type { Load } from './workload.ts'

/** One contestant in one round. */
export interface Sample {
  seconds: number
  /** Server CPU in microseconds. */
  cpu: number
}

async function measure (contestant: Contestant, { prepare, load }: Load): Promise<Sample> {
  await prepare?.(contestant)
  const before = await contestant.cpu()
  const seconds = await load(contestant)
  const { user, system } = await contestant.cpu()
  return { seconds, cpu: user + system - before.user - before.system }
}

/**
 * Runs workloads on all contestants in turn, in several rounds, so that disturbances affect all of them. Each round
 * starts with another contestant. The first round warms up and does not count.
 */
export async function runRounds (
  workloads: readonly Load[],
  contestants: readonly Contestant[],
  rounds: number
): Promise<Array<Map<Contestant, Sample[]>>> {
  const samples = workloads.map(() => new Map(contestants.map(contestant => [contestant, [] as Sample[]])))
  for (const { open } of workloads) await open?.(contestants)
  for (let round = 0; round <= rounds; round++) {
    for (let turn = 0; turn < contestants.length; turn++) {
      const contestant = contestants[(round + turn) % contestants.length]!
      for (const [index, workload] of workloads.entries()) {
        const sample = await measure(contestant, workload)
        if (round > 0) samples[index]!.get(contestant)!.push(sample)
      }
    }
  }
  for (const { close } of workloads) close?.()
  return samples
}
