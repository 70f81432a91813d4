import type { ActiveChannel } from './active-channel.ts'
import type { ActivePresence } from './active-presence.ts'
import { Channel, type ChannelResolver } from './channel.ts'
import type { EventLogFactory } from '../log/log.ts'
import { isPresence } from './presence-events.ts'
import type { ChannelSettings } from './settings.ts'

/** The settings of a channel with its log. */
export type ResolvedSettings = ChannelSettings & { eventLog: EventLogFactory }

/** The channels of a registration, as a handle uses them. */
export interface ChannelHost {
  /** Returns the active channel with these settings; undefined if there is none. */
  activeWith: (settings: ResolvedSettings) => ActiveChannel | undefined
  /** Returns the active channel of a handle, created if there is none; undefined after the close. */
  activate: (handle: ChannelHandle) => ActiveChannel | undefined
  /** Returns the members of a presence; undefined after the close. */
  members: (settings: ResolvedSettings) => ActivePresence | undefined
  /** Returns the presence of the channel with these settings. */
  presenceOf: (settings: ResolvedSettings) => ReturnType<ChannelResolver['presence']>
  /** Logs the rejection of a call, for callers that ignore the promise. */
  watch: (name: string, call: string, answer: Promise<unknown>) => void
}

/**
 * The channel object of a program, which finds the active channel by its settings, or creates it. It has no closures: a
 * server may have many idle channels.
 */
export class ChannelHandle implements ChannelResolver {
  readonly settings: ResolvedSettings
  /** The options as the program passed them. */
  readonly options: unknown
  readonly channel: Channel
  readonly #channels: ChannelHost

  constructor (channels: ChannelHost, settings: ResolvedSettings, options: unknown) {
    this.settings = settings
    this.options = options
    this.#channels = channels
    this.channel = new Channel(settings.name, this)
  }

  get start (): ResolvedSettings['start'] { return this.settings.start }
  get snapshot (): (() => unknown) | undefined {
    return isPresence(this.settings.name)
      ? async () => await this.#channels.members(this.settings)?.event()
      : undefined
  }

  find (): ActiveChannel | undefined { return this.#channels.activeWith(this.settings) }
  get (): ActiveChannel | undefined { return this.#channels.activate(this) }
  presence (): ReturnType<ChannelResolver['presence']> { return this.#channels.presenceOf(this.settings) }
  watch (call: string, answer: Promise<unknown>): void { this.#channels.watch(this.settings.name, call, answer) }
}
