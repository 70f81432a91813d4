import type { Contestant } from './contestant.ts'
import { runRounds, type Sample } from './rounds.ts'
import { spread, table } from './table.ts'
import type { Workload } from './workload.ts'

type Samples = ReadonlyMap<Contestant, readonly Sample[]>

/** The results of all contestants with one workload: absolute, and relative to the plain server in the same round. */
export class Comparison {
  readonly workload: Workload
  readonly #samples: Samples
  readonly #plainOf: (contestant: Contestant) => Contestant

  private constructor (workload: Workload, samples: Samples, plainOf: (contestant: Contestant) => Contestant) {
    this.workload = workload
    this.#samples = samples
    this.#plainOf = plainOf
  }

  /** Runs the workloads one after the other in each round. By default, the second contestant is the plain server. */
  static async of (
    workloads: readonly Workload[],
    contestants: readonly Contestant[],
    rounds: number,
    plainOf = (_: Contestant): Contestant => contestants[1]!
  ): Promise<Comparison[]> {
    const samples = await runRounds(workloads, contestants, rounds)
    return workloads.map((workload, index) => new Comparison(workload, samples[index]!, plainOf))
  }

  get contestants (): Contestant[] { return [...this.#samples.keys()] }

  /** Server CPU in each round, as a multiple of the plain server's, also with another workload of the same rounds. */
  ratios (contestant: Contestant, base: Comparison = this): number[] {
    const plain = base.#samples.get(this.#plainOf(contestant))!
    return this.#samples.get(contestant)!.map(({ cpu }, round) => cpu / plain[round]!.cpu)
  }

  /** Microseconds of server CPU for each unit, by round. */
  cpuOf (contestant: Contestant): number[] {
    return this.#samples.get(contestant)!.map(({ cpu }) => cpu / this.workload.amount)
  }

  /** `bare`: a comparison of the same rounds whose plain server is a further column. */
  table (bare?: Comparison): string {
    const { what, unit, amount } = this.workload
    const plain = this.#plainOf(this.contestants[0]!).name
    const rows = this.contestants.map(contestant => [
      contestant.name,
      spread(this.#samples.get(contestant)!.map(({ seconds }) => amount / seconds)),
      spread(this.cpuOf(contestant), 2),
      spread(this.ratios(contestant), 2),
      ...bare === undefined ? [] : [spread(this.ratios(contestant, bare), 2)]
    ])
    return table([what, `${unit === 'delivery' ? 'deliveries' : `${unit}s`}/s`, `server CPU per ${unit}, µs`,
      `× ${plain}`, ...bare === undefined ? [] : [`× ${plain} without these`]], rows)
  }
}
