import type { Contestant } from './contestant.ts'
import { runRounds, type Load, type Sample } from './rounds.ts'
import { median, spread, table } from './table.ts'

export interface Workload {
  /** The name in the chart. */
  name: string
  /** The heading of the table. */
  what: string
  /** The counted unit, in the singular, and how many of them a sample has. */
  unit: string
  amount: number
}

/** The results of all contestants with one workload: absolute, and relative to the plain server in the same round. */
export class Comparison {
  readonly workload: Workload
  readonly #samples: ReadonlyMap<Contestant, readonly Sample[]>
  readonly #plain: Contestant

  private constructor (workload: Workload, samples: ReadonlyMap<Contestant, readonly Sample[]>, plain: Contestant) {
    this.workload = workload
    this.#samples = samples
    this.#plain = plain
  }

  /** The second contestant is the plain server. */
  static async of (
    workload: Workload,
    contestants: readonly Contestant[],
    rounds: number,
    load: Load
  ): Promise<Comparison> {
    return new Comparison(workload, await runRounds(contestants, rounds, load), contestants[1]!)
  }

  /** Server CPU in each round, as a multiple of the plain server's, by name. */
  get ratios (): Map<string, number[]> {
    const plain = this.#samples.get(this.#plain)!
    return new Map(
      [...this.#samples].map(([{ name }, own]) => [name, own.map(({ cpu }, round) => cpu / plain[round]!.cpu)])
    )
  }

  /** Microseconds of server CPU for each unit, in the median round. */
  cpuOf (contestant: Contestant): number {
    return median(this.#samples.get(contestant)!.map(({ cpu }) => cpu)) / this.workload.amount
  }

  table (): string {
    const { what, unit, amount } = this.workload
    const { ratios } = this
    const rows = [...this.#samples].map(([{ name }, own]) => [
      name,
      spread(own.map(({ seconds }) => amount / seconds)),
      spread(own.map(({ cpu }) => cpu / amount), 2),
      spread(ratios.get(name)!, 2)
    ])
    return table([what, `${unit === 'delivery' ? 'deliveries' : `${unit}s`}/s`, `server CPU per ${unit}, µs`,
      '× node:http'], rows)
  }
}
