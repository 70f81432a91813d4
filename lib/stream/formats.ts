import type { FastifyReply } from 'fastify'
import { FST_SSE_NOT_ACCEPTABLE, FST_SSE_WAIT, describe } from '../errors.ts'
import { EVENT_STREAM, type WireFormat } from '../wire/format.ts'
import { JSON_ELEMENTS, JSON_LINES } from '../wire/json-lines.ts'
import { preferredType } from './accept.ts'
import { EVENT_STREAM_TYPE, addVary } from './response-headers.ts'

/** A format of a stream: Server-Sent Events, one JSON object per line, or one JSON array. */
export type StreamFormat = 'event-stream' | 'ndjson' | 'json'

/** How a stream is sent. */
export interface Representation {
  readonly mediaType: string
  readonly contentType: string
  readonly wire: WireFormat
  /** Whether the frames are the elements of one JSON array. */
  readonly isArray: boolean
}

/** The default. */
export const SERVER_SENT_EVENTS: Representation = {
  mediaType: 'text/event-stream',
  contentType: EVENT_STREAM_TYPE,
  wire: EVENT_STREAM,
  isArray: false
}

const lines = (mediaType: string): Representation =>
  ({ mediaType, contentType: mediaType, wire: JSON_LINES, isArray: false })

/** The representations of each format, the preferred one first. */
export const REPRESENTATIONS: Record<StreamFormat, readonly Representation[]> = {
  'event-stream': [SERVER_SENT_EVENTS],
  ndjson: [lines('application/x-ndjson'), lines('application/jsonl')],
  json: [{
    mediaType: 'application/json',
    contentType: 'application/json; charset=utf-8',
    wire: JSON_ELEMENTS,
    isArray: true
  }]
}

/** The options that decide the representation of a stream. */
export interface FormatOptions { readonly formats: readonly StreamFormat[], readonly maxWait: number }

export interface Negotiated {
  readonly representation: Representation
  /** The milliseconds that a JSON array of channels waits for its first event. */
  readonly wait: number
  /** The error for a request that gets no stream. */
  readonly refusal: Error | undefined
}

/** The representation of a stream with the default formats. */
export const NOT_NEGOTIATED: Negotiated = { representation: SERVER_SENT_EVENTS, wait: 0, refusal: undefined }

/**
 * Returns the representation of a stream by its formats and the `Accept` of the request, which is not read where the
 * formats are the default. The refusal is FST_SSE_NOT_ACCEPTABLE, or FST_SSE_WAIT for a bad parameter `wait`.
 */
export function negotiate (reply: FastifyReply, { formats, maxWait }: FormatOptions): Negotiated {
  if (formats.length === 1 && formats[0] === 'event-stream') return NOT_NEGOTIATED
  addVary(reply, 'Accept')
  const { headers: { accept }, url } = reply.request.raw
  const offered = formats.flatMap(format => REPRESENTATIONS[format])
  const representation = preferredType(accept, offered)
  if (representation === undefined) {
    const refusal = new FST_SSE_NOT_ACCEPTABLE(offered.map(({ mediaType }) => mediaType).join(', '))
    return { ...NOT_NEGOTIATED, refusal }
  }
  const wait = representation.isArray ? waitOf(url!) : 0
  if (typeof wait !== 'number') return { ...NOT_NEGOTIATED, refusal: wait }
  // The client chose the type, not the handler.
  reply.removeHeader('content-type')
  return { representation, wait: Math.min(wait, maxWait), refusal: undefined }
}

/**
 * Returns the milliseconds of the query parameter `wait`, which holds seconds, or the error for a bad one. Reads the
 * URL, since a schema of the query may have removed the parameter.
 */
function waitOf (url: string): number | Error {
  const start = url.indexOf('?')
  const values = start < 0 ? [] : new URLSearchParams(url.slice(start)).getAll('wait')
  if (values.length === 0) return 0
  const [value] = values
  if (values.length === 1 && /^\d{1,9}(?:\.\d+)?$/.test(value!)) return Number(value) * 1_000
  return new FST_SSE_WAIT(values.length > 1 ? 'several values' : describe(value))
}
