import type { FastifyRequest } from 'fastify'
import { decodeLastEventId } from '../wire/last-event-id.ts'

/** The parts of a request that the plugin reads, as the client sent them. */
export interface RequestFacts {
  readonly lastEventId: string | undefined
  /** Whether the client accepts an event stream alone, as every `EventSource` does. */
  readonly eventSource: boolean
  /** The client's address, where streams are counted by it. */
  readonly address: string | undefined
}

// Shared objects: most requests have no Last-Event-ID.
const PLAIN: RequestFacts = { lastEventId: undefined, eventSource: false, address: undefined }
const EVENT_SOURCE: RequestFacts = { ...PLAIN, eventSource: true }

/**
 * Returns the facts of a request. It is called before the validation: a schema of headers or of the query removes and
 * converts values in the request's own objects. `addressed`: whether the address is needed, which `trustProxy` reads
 * from a header.
 */
export function requestFactsOf (request: FastifyRequest, addressed: boolean): RequestFacts {
  const { method, headers: { accept } } = request.raw
  const lastEventId = decodeLastEventId(request)
  const eventSource = method === 'GET' && accept === 'text/event-stream'
  if (lastEventId === undefined && !addressed) return eventSource ? EVENT_SOURCE : PLAIN
  return { lastEventId, eventSource, address: addressed ? request.ip : undefined }
}
