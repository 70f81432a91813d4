import { channelArguments, decodeReplies, type ChannelArguments, type ChannelReply } from './channel-state.ts'
import type { Database } from './database.ts'

interface PendingRead {
  channel: ChannelArguments
  after: number
  isWanted: () => boolean
  resolve: (reply: ChannelReply) => void
  reject: (error: unknown) => void
}

const MAX_CHANNELS = 200
// Entries of one statement, and the limits of those of one channel.
const ENTRIES = 4_000
const PER_CHANNEL = [20, 500] as const

/**
 * Reads states, and the entries that tails miss, for many channels with one statement. One statement is under way at a
 * time.
 */
export class TailReader {
  readonly #database: Pick<Database, 'call'>
  #pending: PendingRead[] = []
  #reading = false

  constructor (database: Pick<Database, 'call'>) {
    this.#database = database
  }

  /** Resolves with the state of the channel alone. */
  state (channel: ChannelArguments, isWanted: () => boolean): Promise<ChannelReply> {
    return this.read(channel, Number.MAX_SAFE_INTEGER, isWanted)
  }

  /** Resolves with the next entries after an offset, also those beyond the history that are still stored. */
  read (channel: ChannelArguments, after: number, isWanted: () => boolean): Promise<ChannelReply> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ channel, after, isWanted, resolve, reject })
      if (!this.#reading) this.#readAll()
    })
  }

  async #readAll (): Promise<void> {
    this.#reading = true
    await undefined
    while (this.#pending.length > 0) {
      // No name twice: two logs of this process may have one.
      const names = new Set<string>()
      const batch: PendingRead[] = []
      const rest: PendingRead[] = []
      for (const read of this.#pending) {
        if (batch.length < MAX_CHANNELS && !names.has(read.channel.name)) batch.push(read)
        else rest.push(read)
        names.add(read.channel.name)
      }
      this.#pending = rest
      await this.#readBatch(batch)
    }
    this.#reading = false
  }

  async #readBatch (batch: readonly PendingRead[]): Promise<void> {
    const limit = Math.min(PER_CHANNEL[1], Math.max(PER_CHANNEL[0], Math.floor(ENTRIES / batch.length)))
    try {
      const channels = channelArguments(batch.map(({ channel }) => channel))
      const afters = batch.map(({ after }) => after)
      const isWanted = (): boolean => batch.some(({ isWanted }) => isWanted())
      const rows = await this.#database.call('read', [...channels, afters, limit, true], isWanted)
      for (const [index, reply] of decodeReplies(rows).entries()) batch[index]!.resolve(reply)
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }
}
