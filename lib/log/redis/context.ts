import type { AppendBatches } from './append-batches.ts'
import type { AppendTimeouts } from './append-timeouts.ts'
import type { Commands } from './commands.ts'
import type { EpochIndex } from './epoch-index.ts'
import type { RedisSubscriber } from './subscriber.ts'

/** Shared by the logs of one `redisLog`. */
export interface RedisContext {
  readonly commands: Commands
  readonly epochs: EpochIndex
  /** Appends of all channels; undefined in a cluster, where the channels of one command would need one slot. */
  readonly batches: AppendBatches | undefined
  readonly timeouts: AppendTimeouts
  readonly subscriber: RedisSubscriber
  readonly prefix: string
  /** Milliseconds until a call is rejected. */
  readonly timeout: number
  readonly publish: 'PUBLISH' | 'SPUBLISH'
  /** The random secret for the seals of logs that start in this process. */
  readonly secret: string
  /** The prefix that ioredis adds to each key, but not to the names of Redis channels. */
  readonly keyPrefix: string
  readonly db: number
  /** All open logs. */
  readonly open: Set<{ tick: (now: number) => void }>
  readonly onAllClosed: () => void
}
