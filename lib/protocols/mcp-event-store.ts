import type { FastifyInstance } from 'fastify'
import type { ChannelOptions } from '../channel/settings.ts'
import { FST_SSE_NOT_FOUND } from '../errors.ts'
import { mcpEvents, PRIMING, type JsonRpcMessage } from './mcp-messages.ts'

/** Options of `mcpEventStores`. */
export interface McpEventStoresOptions extends Pick<ChannelOptions, 'history'> {
  /** The first part of the names of the channels. Default 'mcp-events'. */
  name?: string | undefined
}

/** The store of one session: an `EventStore` of the official SDK. */
export interface McpEventStore {
  storeEvent (streamId: string, message: JsonRpcMessage): Promise<string>
  getStreamIdForEventId (eventId: string): Promise<string | undefined>
  replayEventsAfter (
    lastEventId: string,
    target: { send: (eventId: string, message: JsonRpcMessage) => Promise<void> }
  ): Promise<string>
}

/** The event stores of all sessions. */
export interface McpEventStores {
  /** Returns the store of a session. An event id of another session is unknown to it. */
  of: (sessionId: string) => McpEventStore
}

/**
 * Returns event stores for the transport of the official SDK: one channel for each stream of a session. The ids are
 * positions in these channels. Behind a shared log, every node replays the stored events.
 */
export function mcpEventStores (app: FastifyInstance, options: McpEventStoresOptions = {}): McpEventStores {
  const { name = 'mcp-events', history } = options
  const family = app.sse.channelFamily(name, { events: mcpEvents, history, start: 'earliest' })

  const of = (sessionId: string): McpEventStore => {
    // A slash in the id of a session is not the one that ends it: 'a' must not have the streams of 'a/b'.
    const session = `${sessionId.replace(/[%/]/g, encodeURIComponent)}/`
    const prefix = family.nameOf(session)

    const getStreamIdForEventId = async (eventId: string): Promise<string | undefined> => {
      const [found] = await app.sse.locate(eventId)
      return found?.startsWith(prefix) === true ? found.slice(prefix.length) : undefined
    }

    return {
      // The SDK stores an empty object as the first event, for its position.
      storeEvent: (streamId, message) =>
        family.of(session + streamId).publish('jsonrpc' in message ? { data: message } : PRIMING),

      getStreamIdForEventId,

      async replayEventsAfter (lastEventId, { send }) {
        const streamId = await getStreamIdForEventId(lastEventId)
        if (streamId === undefined) throw new FST_SSE_NOT_FOUND('event with this id in the session')
        const channel = family.of(session + streamId)
        const { newest } = await channel.position()
        if (offsetOf(lastEventId) >= newest) return streamId
        for await (const { event, data, id } of channel.subscribe({ after: lastEventId })) {
          if (event === 'message' && data !== '') await send(id, data)
          if (offsetOf(id) >= newest) break
        }
        return streamId
      }
    }
  }

  return { of }
}

const offsetOf = (id: string): number => Number(id.slice(id.lastIndexOf('-') + 1))
