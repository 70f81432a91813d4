import type { FastifyRequest } from 'fastify'
import type { Channel } from '../channel/channel.ts'
import type { ChannelFamily } from '../channel/channel-family.ts'
import type { Channels } from '../channel/channels.ts'
import { isChannelName, type ChannelOptions } from '../channel/settings.ts'
import type { DisconnectRelay } from './disconnect-relay.ts'
import type { EventMap } from '../contract/event-types.ts'
import type { AllRuns } from '../runs/all-runs.ts'
import type { Runs, RunsOptions } from '../runs/runs.ts'
import type { ChannelLag } from '../source/source.ts'
import type { ChannelStats, Statistics, Stats } from '../metrics/statistics.ts'
import type { Stream } from '../stream/stream.ts'
import type { StreamRegistry } from '../stream/registry.ts'
import { decodeCursor } from '../wire/cursor.ts'

/** A snapshot of an open stream. */
export interface OpenStream {
  readonly request: FastifyRequest
  /** Method and path as they were declared. */
  readonly route: string
  /** The stream's key, as returned by `limits.keyGenerator`. */
  readonly key: string | undefined
  /** Milliseconds since `reply.sse()`. */
  readonly age: number
  readonly events: number
  readonly bytes: number
  /** Whether bytes wait for a client that reads none. */
  readonly stalled: boolean
  readonly lastEventId: string | undefined
  /** The channels of the stream, and how many of their events it has not written yet. */
  readonly channels: readonly ChannelLag[]
  /** Ends the stream as `revoked`. The client gets the reason; the client of this package does not reconnect. */
  disconnect: (reason?: string) => void
}

export interface SseServerSetup {
  channels: Channels
  runs: AllRuns
  streams: StreamRegistry<Stream>
  statistics: Statistics
  disconnectRelay: DisconnectRelay
  /** Ends all streams. */
  drain: () => Promise<void>
}

/** `app.sse`: the channels of a server, and control of its open streams. */
export class SseServer {
  readonly #setup: SseServerSetup

  constructor (setup: SseServerSetup) {
    this.#setup = setup
  }

  /** Aborts when the server begins to close. */
  get shutdownSignal (): AbortSignal { return this.#setup.streams.signal }

  /**
   * Returns the channel of that name, and creates it if there is none. Throws FST_SSE_OPTION for a bad name or option,
   * FST_SSE_MAP and FST_SSE_SCHEMA for events that cannot be used, and FST_SSE_CHANNEL_OPTIONS if the channel exists
   * with other options. After the server has ended its streams, the channel rejects every call with FST_SSE_CLOSING,
   * and `reply.sse` rejects its streams as all others.
   */
  channel<const M extends EventMap = EventMap> (name: string, options?: ChannelOptions<M>): Channel<M> {
    return this.#setup.channels.channel(name, options)
  }

  /**
   * Returns a family of channels that share their options, `<name>:<id>` for each id. Throws as `channel` does, and
   * FST_SSE_OPTION for a name with a colon.
   */
  channelFamily<const M extends EventMap = EventMap> (name: string, options?: ChannelOptions<M>): ChannelFamily<M> {
    return this.#setup.channels.family(name, options)
  }

  /**
   * Returns the runs of that name, and creates them if there are none. The channels `<name>:<id>` are theirs. Throws as
   * `channelFamily` does, FST_SSE_LOG_METHOD if the event log cannot serve runs, and FST_SSE_CHANNEL_OPTIONS for
   * another object of options.
   */
  runs<const M extends EventMap = EventMap> (name: string, options?: RunsOptions<M>): Runs<M> {
    return this.#setup.runs.of(name, options)
  }

  /**
   * Returns the names of the channels to which an event id belongs, on any node; none for an id that is unknown or
   * malformed. It asks the event logs of the registration and of the channels that this process has made. A client can
   * send any id: a position is no permission, so check the names. Rejects with FST_SSE_LOG_METHOD if one of the logs
   * has no `locate`, with the error of a log that cannot answer, and with FST_SSE_CLOSING after the server has ended
   * its streams.
   */
  async locate (lastEventId: string | undefined): Promise<string[]> {
    const cursor = typeof lastEventId === 'string' ? decodeCursor(lastEventId) : undefined
    const names = await this.#setup.channels.locate([...cursor?.keys() ?? []])
    return [...new Set(names.filter(isChannelName))]
  }

  /**
   * Returns the channel of that name in the memory of this process, with the options of its creation; undefined if
   * there is none. Throws FST_SSE_OPTION for a bad name. It does not know the channels of other nodes. The log that the
   * nodes share does: `channel(name, options).position()`.
   */
  find (name: string): Channel | undefined {
    return this.#setup.channels.find(name)
  }

  /**
   * Returns the statistics since the plugin was registered, and of all open streams. This call computes them in a time
   * that grows with the open streams, and not with the channels.
   */
  stats (): Stats {
    const { statistics, streams, channels } = this.#setup
    return statistics.snapshot(streams.open, channels.size)
  }

  /** Returns the channels in the memory of this process. The time of this call grows with their number. */
  channels (): ChannelStats[] {
    return this.#setup.channels.stats()
  }

  /** Returns the streams that are open in this process. */
  streams (): OpenStream[] {
    return [...this.#setup.streams].map(stream => {
      const { record: { request, route, key, age }, events, bytes, stalled, lastEventId, channelLags } = stream
      return {
        request,
        route,
        key,
        age,
        events,
        bytes,
        stalled,
        lastEventId,
        channels: channelLags,
        disconnect: reason => stream.revoke(reason)
      }
    })
  }

  /**
   * Ends streams as `revoked`. A key (`limits.keyGenerator`) ends its streams on all nodes that share the `eventLog` of
   * the registration. A function ends each stream of this process for which it returns true. Each client gets the
   * reason; the client of this package does not reconnect. Resolves to the number of streams that ended in this
   * process. Rejects with FST_SSE_NO_KEY for a key if streams have none, and with FST_SSE_OPTION for a key that is no
   * string or a result that is no boolean: then no stream ends.
   */
  disconnect (target: string | ((request: FastifyRequest) => boolean), reason?: string): Promise<number> {
    return this.#setup.disconnectRelay.disconnect(target, reason)
  }

  /**
   * Ends all streams as `app.close()` does, for a server that still serves other requests meanwhile. `app.close()`
   * calls it itself.
   */
  drain (): Promise<void> {
    return this.#setup.drain()
  }
}
