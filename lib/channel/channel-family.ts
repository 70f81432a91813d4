import type { Channel } from './channel.ts'
import type { EventMap } from '../contract/event-types.ts'
import { FST_SSE_OPTION, describe } from '../errors.ts'
import { isChannelName, validateName, type ChannelOptions } from './settings.ts'

/** Makes channels of any name. */
interface ChannelMaker {
  channel: <const M extends EventMap>(name: string, options: ChannelOptions<M>) => Channel<M>
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

  /** Returns the name of the channel with that id: `<family>:<id>`. Throws FST_SSE_OPTION as `of` does. */
  nameOf (id: string): string {
    const name = `${this.name}:${id}`
    if (typeof id !== 'string' || id === '' || !isChannelName(name)) {
      const expected = `a string of 1 to ${511 - this.name.length} characters without control characters`
      throw new FST_SSE_OPTION('id', expected, describe(id))
    }
    return name
  }
}
