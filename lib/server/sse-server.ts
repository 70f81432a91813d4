import type { FastifyRequest } from 'fastify'
import type { Channel } from '../channel/channel.ts'
import type { Channels } from '../channel/channels.ts'
import type { ChannelOptions } from '../channel/settings.ts'
import type { DisconnectRelay } from './disconnect-relay.ts'
import type { EventMap } from '../contract/event-types.ts'
import type { ChannelLag } from '../source/source.ts'
import type { Statistics, Stats } from '../metrics/statistics.ts'
import type { Stream } from '../stream/stream.ts'
import type { StreamRegistry } from '../stream/registry.ts'

/** An open stream, as it is now. */
export interface OpenStream {
  readonly request: FastifyRequest
  /** Method and path as they were declared. */
  readonly route: string
  /** What it is counted by: that of `limits.key`. */
  readonly key: string | undefined
  /** Milliseconds since `reply.sse()`. */
  readonly age: number
  readonly events: number
  readonly bytes: number
  /** Its client takes nothing while something waits for it. */
  readonly stalled: boolean
  readonly lastEventId: string | undefined
  /** The channels that it follows, and how many of their events it has not written yet. */
  readonly channels: readonly ChannelLag[]
  /** Ends it as `revoked`. The client is told why, and ours does not come back. */
  disconnect: (why?: string) => void
}

export interface SseServerSetup {
  channels: Channels
  streams: StreamRegistry<Stream>
  statistics: Statistics
  disconnections: DisconnectRelay
  /** Ends the streams. */
  drain: () => Promise<void>
}

/** `app.sse`: the channels of a server, and the open streams in the hands of who runs it. */
export class SseServer {
  readonly #setup: SseServerSetup

  constructor (setup: SseServerSetup) {
    this.#setup = setup
  }

  /** Aborts when the server begins to close. */
  get shutdownSignal (): AbortSignal { return this.#setup.streams.signal }

  /**
   * The channel of that name, made when there is none. FST_SSE_OPTION for a bad name or option, FST_SSE_MAP and
   * FST_SSE_SCHEMA for events that cannot be used, FST_SSE_CHANNEL_OPTIONS when it is there with other options. After
   * the server has ended its streams, the channel rejects every call with FST_SSE_CLOSING, and `reply.sse` refuses a
   * stream of it as any other.
   */
  channel<const M extends EventMap = EventMap> (name: string, options?: ChannelOptions<M>): Channel<M> {
    return this.#setup.channels.channel(name, options)
  }

  /**
   * The channel of that name in the memory of this process, with the options of its creation; undefined where there is
   * none. FST_SSE_OPTION for a bad name. It does not look at other nodes: `channel(name, options).head()` asks the log
   * that the nodes share.
   */
  find (name: string): Channel | undefined {
    return this.#setup.channels.find(name)
  }

  /** What happened since the plugin was registered, and what is open now. Counted when it is asked for. */
  stats (): Stats {
    const { statistics, streams, channels } = this.#setup
    const open = [...streams].map(({ record: { route }, events, bytes, stalled }) => ({ route, events, bytes, stalled }))
    return statistics.snapshot(open, channels.stats())
  }

  /** The streams that are open in this process. */
  streams (): OpenStream[] {
    return [...this.#setup.streams].map(stream => {
      const { record: { request, route, key, age }, events, bytes, stalled, lastEventId, channelLags } = stream
      return { request, route, key, age, events, bytes, stalled, lastEventId, channels: channelLags, disconnect: why => stream.revoke(why) }
    })
  }

  /**
   * Ends streams as `revoked`: those of a key (`limits.key`), on all nodes where channels have a log that these share;
   * or those of this process whose request the function picks. Each client is told why, and ours does not come back.
   * Resolves to how many it ended here. FST_SSE_NO_KEY for a key where streams have none, FST_SSE_OPTION for a key that
   * is no string or an answer that is no boolean: then nothing ends.
   */
  disconnect (who: string | ((request: FastifyRequest) => boolean), why?: string): Promise<number> {
    return this.#setup.disconnections.disconnect(who, why)
  }

  /** Ends all streams as `app.close()` does, which does it by itself; for a server that is to answer other requests meanwhile. */
  drain (): Promise<void> {
    return this.#setup.drain()
  }
}
