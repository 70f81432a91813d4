import type { Contestant } from './contestant.ts'

/** Runs a workload on one server. Resolves to the seconds it took, rejects if the response was wrong. */
export type Load = (contestant: Contestant) => Promise<number>

/** One contestant in one round. */
export interface Sample {
  seconds: number
  /** Server CPU in microseconds. */
  cpu: number
}

async function measure (contestant: Contestant, load: Load): Promise<Sample> {
  const before = await contestant.cpu()
  const seconds = await load(contestant)
  return { seconds, cpu: await contestant.cpu() - before }
}

/**
 * Runs a load on all contestants in turn, in several rounds, so that disturbances affect all of them. Each round starts
 * with another one. The first round warms up and does not count.
 */
export async function runRounds (
  contestants: readonly Contestant[],
  rounds: number,
  load: Load
): Promise<Map<Contestant, Sample[]>> {
  const samples = new Map(contestants.map(contestant => [contestant, [] as Sample[]]))
  for (let round = 0; round <= rounds; round++) {
    for (let turn = 0; turn < contestants.length; turn++) {
      const contestant = contestants[(round + turn) % contestants.length]!
      const sample = await measure(contestant, load)
      if (round > 0) samples.get(contestant)!.push(sample)
    }
  }
  return samples
}
