import { RemoteLog, type Dice } from './remote-log.ts'
import type { EventLogFactory, MemberLog } from '../../lib/log/log.ts'

/** The logs of several nodes in this process. A node may lose its way to them. */
export class SharedStore {
  readonly #logs = new Map<string, RemoteLog>()
  readonly #dice: Dice | undefined

  /** With dice, answers take time. */
  constructor (dice?: Dice) {
    this.#dice = dice
  }

  /** Returns the log of a name, of which nothing is ever cut. */
  log (name: string): RemoteLog {
    const log = this.#logs.get(name) ?? new RemoteLog({ maxEvents: 100_000 }, this.#dice)
    this.#logs.set(name, log)
    return log
  }

  node (): StoreNode { return new StoreNode(this) }
}

/** A node of the store. `away`: calls reject, or never settle, and nothing is delivered. */
export class StoreNode {
  away: 'rejects' | 'hangs' | undefined
  readonly #store: SharedStore
  #waiting: Array<() => void> = []

  constructor (store: SharedStore) {
    this.#store = store
  }

  /** The store is there again: calls that hang are made now. */
  back (): void {
    this.away = undefined
    for (const call of this.#waiting.splice(0)) call()
  }

  readonly open: EventLogFactory = name => {
    const log = this.#store.log(name)
    const stops: Array<() => void> = []
    const far = <T>(call: () => T | Promise<T>): T | Promise<T> => {
      if (this.away === undefined) return call()
      if (this.away === 'rejects') return Promise.reject(new Error('the store is away'))
      return new Promise<void>(resolve => { this.#waiting.push(resolve) }).then(call)
    }
    return {
      append: record => far(() => log.append(record)),
      read: (after, limit) => far(() => log.read(after, limit)),
      state: () => far(() => log.state()),
      end: (last, outcome) => far(() => log.end(last, outcome)),
      peek: () => far(() => log.peek()),
      lease: (owner, duration) => far(() => log.lease(owner, duration)),
      hold: (holder, change, duration) => far(() => log.hold(holder, change, duration)),
      members: () => far(() => log.members()),
      tail: listener => {
        const stop = log.tail(batch => { if (this.away === undefined) listener(batch) })
        stops.push(stop)
        return stop
      },
      isIdle: () => true,
      close: () => { for (const stop of stops) stop() }
    } satisfies MemberLog
  }
}
