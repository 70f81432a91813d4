import type { FastifyBaseLogger } from 'fastify'
import { Feed } from '../../lib/channel/feed.ts'
import { resolveChannel, type ChannelOptions } from '../../lib/channel/settings.ts'
import type { EventLog } from '../../lib/log/log.ts'
import { numbered, RemoteLog } from './remote-log.ts'

export const logger = { error: () => {} } as unknown as FastifyBaseLogger

export const feedOf = (log: EventLog, options: ChannelOptions = {}): Feed =>
  new Feed(resolveChannel('news', options), log, logger)

/** Returns the feed of a channel of numbers, its log, and the frames that its subscribers receive. */
export function numberFeed (options: ChannelOptions = {}) {
  const log = new RemoteLog(options.history)
  const feed = feedOf(log, options)
  const epoch = log.now.epoch
  return {
    log,
    feed,
    epoch,
    publish: (...numbers: number[]) => { for (const n of numbers) log.append(numbered(n)) },
    frame: (n: number, offset = n) => `id: ${epoch}-${offset}\ndata: ${n}`,
    /** The position frame of an offset. */
    to: (offset: number) => `event: sse.position\nid: ${epoch}-${offset}\ndata: `,
    at: (position: number) => new Map([[epoch, position]])
  }
}

/** Returns the numbers from `first` to `last`. */
export const upTo = (last: number, first = 1): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index)
