import type { Contestant } from './contestant.ts'
import type { Sample } from './rounds.ts'
import { spread } from './table.ts'

/** The columns that say how fast each contestant was: by itself, and beside `node:http` in the same round. */
export const ratios = {
  heads (rate: string, unit: string): string[] {
    return [rate, '× node:http', `server CPU per ${unit}, µs`, '× node:http']
  },

  /** `amount`: how many of the unit there are in a sample. */
  rows (contestants: readonly Contestant[], plain: Contestant, samples: ReadonlyMap<Contestant, readonly Sample[]>, amount: number): string[][] {
    const baseline = samples.get(plain)!
    return contestants.map(contestant => {
      const own = samples.get(contestant)!
      return [
        contestant.name,
        spread(own.map(({ seconds }) => amount / seconds)),
        spread(own.map(({ seconds }, round) => baseline[round]!.seconds / seconds), 2),
        spread(own.map(({ cpu }) => cpu / amount), 2),
        spread(own.map(({ cpu }, round) => cpu / baseline[round]!.cpu), 2)
      ]
    })
  }
}
