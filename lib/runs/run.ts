import type { Channel } from '../channel/channel.ts'
import type { EventMap, EventOf } from '../contract/event-types.ts'
import type { LogStatus } from '../log/log.ts'
import { kSubscribed, type ChannelSource, type kEvents } from '../source/source.ts'

/**
 * The state of a run.
 * - `running`: its source produces events.
 * - `complete`: the source ended.
 * - `failed`: the source threw an error, whose event is the last one.
 * - `stopped`: `stop()` ended it, or `end()` of its channel.
 * - `broken`: its node closed, crashed or lost the event log before the source ended.
 */
export type RunState = 'running' | 'complete' | 'failed' | 'stopped' | 'broken'

const OUTCOMES: readonly unknown[] = ['complete', 'failed', 'stopped', 'broken'] satisfies RunState[]

/** Returns the state of the run that has a log with this status; undefined: the log was lost. */
export function stateOf (status: LogStatus | undefined): RunState {
  if (status === undefined) return 'broken'
  const { ended, outcome } = status
  if (!ended) return 'running'
  // Another program may have ended the log.
  return OUTCOMES.includes(outcome) ? outcome as RunState : 'stopped'
}

/** A run, as it was when `start()` or `get()` returned it. It is a source: `reply.sse(run)`. */
export class Run<M extends EventMap = EventMap> implements ChannelSource<EventOf<M>> {
  readonly id: string
  readonly state: RunState
  /** The channel with the events of the run. */
  readonly channel: Channel<M>
  declare readonly [kEvents]?: EventOf<M>

  constructor (id: string, state: RunState, channel: Channel<M>) {
    this.id = id
    this.state = state
    this.channel = channel
  }

  get [kSubscribed] (): unknown { return this.channel[kSubscribed] }
}
