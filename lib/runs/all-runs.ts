import { FST_SSE_CHANNEL_OPTIONS } from '../errors.ts'
import type { EventMap } from '../contract/event-types.ts'
import { Runs, type RunsOptions, type RunsSetup } from './runs.ts'

/** All runs of one registration, by name. */
export class AllRuns {
  readonly #setup: RunsSetup
  readonly #byName = new Map<string, { runs: Runs, options: unknown }>()

  constructor (setup: RunsSetup) {
    this.#setup = setup
  }

  /** Returns the runs of that name, created if there are none. */
  of<const M extends EventMap = EventMap> (name: string, options: RunsOptions<M> = NO_OPTIONS): Runs<M> {
    const existing = this.#byName.get(name)
    if (existing !== undefined) {
      if (existing.options !== options) throw new FST_SSE_CHANNEL_OPTIONS(name, 'options')
      return existing.runs as unknown as Runs<M>
    }
    const runs = new Runs(name, options, this.#setup)
    this.#byName.set(name, { runs: runs as unknown as Runs, options })
    return runs
  }

  /** Ends all runs of this node that have not ended. */
  async close (): Promise<void> {
    await Promise.all([...this.#byName.values()].map(({ runs }) => runs.close()))
  }
}

// One object, so that two calls without options have the same options.
const NO_OPTIONS = {}
