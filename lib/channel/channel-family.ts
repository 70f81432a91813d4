import type { Channel } from './channel.ts'
import type { EventMap } from '../contract/event-types.ts'
import { FST_SSE_LOG_METHOD, FST_SSE_OPTION, describe } from '../errors.ts'
import type { EventLog } from '../log/log.ts'
import {
  isChannelName, resolveChannel, validateName, type ChannelOptions, type ChannelSettings
} from './settings.ts'

/** Makes channels of any name. */
interface ChannelMaker {
  channel: <const M extends EventMap>(name: string, options: ChannelOptions<M>) => Channel<M>
  withLog: <T>(settings: ChannelSettings, step: (log: EventLog) => T | Promise<T>) => Promise<T>
}

/** Channels with the same options, and an id each: `job:17` is the channel with the id 17 of the family `job`. */
export class ChannelFamily<M extends EventMap = EventMap> {
  readonly name: string
  readonly #maker: ChannelMaker
  readonly #options: ChannelOptions<M>

  /** Throws FST_SSE_OPTION for a name with a colon, and for a name that no channel may have. */
  constructor (name: string, maker: ChannelMaker, options: ChannelOptions<M>) {
    if (validateName(name).includes(':')) throw new FST_SSE_OPTION('name', "a name without ':'", describe(name))
    this.name = name
    this.#maker = maker
    this.#options = options
  }

  /**
   * Returns the channel with that id, and creates it if there is none. An id from a request must be checked first: a
   * client can invent any. Throws FST_SSE_OPTION for an id that makes no channel name.
   */
  of (id: string): Channel<M> {
    return this.#maker.channel(this.nameOf(id), this.#options)
  }

  /**
   * Returns the channel with that id if it has had an event, or has ended, on any node; undefined if not. Creates
   * nothing, so a client may ask for any id. Rejects with FST_SSE_OPTION as `of` throws, FST_SSE_LOG_METHOD if the log
   * has no `peek`, FST_SSE_CLOSING after the close, and the errors of the event log.
   */
  async get (id: string): Promise<Channel<M> | undefined> {
    const settings = resolveChannel(this.nameOf(id), this.#options)
    const status = await this.#maker.withLog(settings, log => {
      if (log.peek === undefined) throw new FST_SSE_LOG_METHOD('peek()', 'channelFamily.get() needs')
      return log.peek()
    })
    return status === undefined || (status.newest === 0 && !status.ended) ? undefined : this.of(id)
  }

  /** Returns the name of the channel with that id: `<family>:<id>`. Throws FST_SSE_OPTION as `of` does. */
  nameOf (id: string): string {
    const name = typeof id === 'string' && id !== '' ? `${this.name}:${id}` : undefined
    if (!isChannelName(name)) {
      const expected = `a string of 1 to ${511 - this.name.length} characters without control characters`
      throw new FST_SSE_OPTION('id', expected, describe(id))
    }
    return name
  }
}
