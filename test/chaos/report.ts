import { STORES } from './store.ts'
import type { World } from './world.ts'

/** The recovery from one kind of fault. */
export interface Suffered { times: number, longest: number }

export type Suffering = ReadonlyMap<string, Suffered>

/** The figures of a run, as the rows of a table. */
export function report (
  { plan, clients, ledger, diary }: World,
  suffering: Suffering
): Array<[what: string, figure: string]> {
  const sum = (figure: (client: World['clients'][number]) => number): string =>
    shown(clients.reduce((sum, client) => sum + figure(client), 0))
  const refused = [...ledger.refused.values()].reduce((sum, count) => sum + count, 0)
  return [
    ['log', STORES[plan.log].title],
    ['seed', String(plan.seed)],
    ['time', `${diary.seconds.toFixed(1)} s`],
    ['events acknowledged', shown(ledger.acknowledged)],
    ['rejected, with unknown outcome', shown(refused)],
    ['rejected, but stored', shown(ledger.surprises)],
    ['delivered', sum(({ delivered }) => delivered)],
    ['reconnects', sum(({ connections }) => connections - 1)],
    ['epochs after a loss of data', shown(ledger.restarts)],
    ['acknowledged in a lost epoch', shown(ledger.abandoned)],
    ['resets after a loss of data', sum(({ restarts }) => restarts)],
    ['resets after a long absence', sum(client => client.count('sse.reset') - client.restarts)],
    ['gaps', sum(client => client.count('sse.gap'))],
    ...Array.from(suffering,
      (
        [kind, { times, longest }]
      ): [string, string] => [kind, `${times} times, over after ${longest.toFixed(1)} s at most`]),
    ['lost, duplicated or out of order', String(diary.wrongs.length)]
  ]
}

const shown = (count: number): string => count.toLocaleString('en')
