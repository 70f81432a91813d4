import { clearInterval, setInterval } from '../clock.ts'
import { FST_SSE_PUBLISH } from '../errors.ts'
import { asMemberLog } from '../log/required-methods.ts'
import type { MemberLog } from '../log/log.ts'
import { sharedScope } from '../scope.ts'
import { ActiveChannel } from './active-channel.ts'
import { MemberHolder } from './member-holder.ts'
import type { PresenceEvent } from './presence-events.ts'
import type { ChannelSetup } from './settings.ts'

/** The presence of a channel in memory: a channel with the changes of members, and the members of this process. */
export class ActivePresence extends ActiveChannel {
  readonly #contract: ChannelSetup['contract']
  readonly #log: MemberLog
  readonly #holder: MemberHolder
  readonly #timer: NodeJS.Timeout

  /** Throws FST_SSE_LOG_METHOD if the log holds no members. */
  constructor (setup: ChannelSetup) {
    super(setup)
    const { contract, log: logger, settings: { name, leaseDuration: duration } } = setup
    this.#contract = contract
    try {
      this.#log = asMemberLog(this.log)
    } catch (error) {
      this.log.close()
      throw error
    }
    this.#holder = new MemberHolder({ log: this.#log, name, logger, duration })
    // Subscribers see the members of a dead node leave, also where this process has no member.
    const tick = (): void => this.#holder.tick(this.readers > 0)
    this.#timer = sharedScope.runInAsyncScope(setInterval, undefined, tick, duration / 3).unref()
  }

  /** Makes a member present until the returned function is called. */
  join (member: string): () => void {
    const { data, fingerprint } = this.#contract.serialize({ event: 'join', data: { member } })
    return this.#holder.join(data, fingerprint)
  }

  /** Returns the members that are present on any node, in order. */
  async members (): Promise<string[]> {
    const texts = await this.#log.members()
    return texts.map(text => (JSON.parse(text) as { member: string }).member).sort()
  }

  /** Returns the event with all members. */
  async event (): Promise<PresenceEvent> {
    return { event: 'members', data: { members: await this.members() } }
  }

  /** Ends the members of this process: the server closes. */
  async release (): Promise<void> {
    await this.#holder.close()
  }

  // A program without types could call the methods of a channel that change it.
  override append (): never { throw readOnly() }
  override appendWith (): never { throw readOnly() }
  override publishFrom (): never { throw readOnly() }
  override end (): never { throw readOnly() }

  override isIdle (): boolean {
    return super.isIdle() && this.#holder.isIdle
  }

  override close (): void {
    clearInterval(this.#timer)
    super.close()
  }
}

const readOnly = (): Error => new FST_SSE_PUBLISH("only subscriptions with the option 'as' change a presence")
