import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { Channel } from './channel/channel.ts'
import { setTimeout } from './clock.ts'
import { FST_SSE_CHANNEL_ENDED, FST_SSE_KEYS } from './errors.ts'

/** What is ended. */
interface Revocable {
  readonly account: { readonly key: string | undefined, readonly request: FastifyRequest }
  revoke: (why?: string) => void
}

export interface DisconnectionsSetup {
  streams: Iterable<Revocable> & { readonly signal: AbortSignal }
  /** Whether streams have keys. */
  keyed: boolean
  /** What tells other nodes; undefined where there are none. */
  openChannel: (() => Channel) | undefined
  log: FastifyBaseLogger
}

/** How long until the channel is followed again, after its log gave up. */
const PAUSE = 1_000

/** Ends streams on behalf of who runs the server, those of a key on all nodes: what is to end is published, as an event among nodes. */
export class Disconnections {
  readonly #setup: DisconnectionsSetup
  #channel: Channel | undefined

  constructor (setup: DisconnectionsSetup) {
    this.#setup = setup
  }

  async disconnect (who: string | ((request: FastifyRequest) => boolean), why?: string): Promise<number> {
    if (typeof who === 'function') return this.#end(({ request }) => who(request), why)
    if (!this.#setup.keyed) throw new FST_SSE_KEYS()
    const ended = this.#end(({ key }) => key === who, why)
    await this.#open()?.publish({ event: 'disconnect', data: { key: who, why } })
    return ended
  }

  /** Listens to the other nodes, until the server closes. */
  async follow (): Promise<void> {
    const { keyed, openChannel, streams, log } = this.#setup
    if (!keyed || openChannel === undefined) return
    while (!streams.signal.aborted) {
      try {
        for await (const { event, data } of this.#open()!.subscribe()) {
          if (event !== 'disconnect') continue
          const { key, why } = data as { key: string, why?: string }
          this.#end(account => account.key === key, why)
        }
        if (streams.signal.aborted) return
        throw new FST_SSE_CHANNEL_ENDED()
      } catch (err) {
        log.error({ err }, 'sse disconnections of other nodes are not heard')
        await new Promise(resolve => setTimeout(resolve, PAUSE).unref())
      }
    }
  }

  #open (): Channel | undefined {
    return (this.#channel ??= this.#setup.openChannel?.())
  }

  #end (isMeant: (account: Revocable['account']) => boolean, why: string | undefined): number {
    const meant = [...this.#setup.streams].filter(({ account }) => isMeant(account))
    for (const stream of meant) stream.revoke(why)
    return meant.length
  }
}
