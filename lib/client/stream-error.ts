/** The codes of a StreamError. */
export type StreamErrorCode =
  | 'FST_SSE_NETWORK'
  | 'FST_SSE_STATUS'
  | 'FST_SSE_CONTENT_TYPE'
  | 'FST_SSE_INACTIVE'
  | 'FST_SSE_MISSING_EVENTS'
  | 'FST_SSE_EVENT_SIZE'
  | 'FST_SSE_INVALID_EVENT'
  | 'FST_SSE_SERVER_ERROR'
  | 'FST_SSE_LOCKED'
  | 'FST_SSE_OPTION'
  | 'FST_SSE_REQUEST'
  | 'FST_SSE_CALLBACK'
  | 'FST_SSE_RESPONSE'
  | 'FST_SSE_POSITION'
  | 'FST_SSE_REDIRECT'

/** The error of a stream that failed or was interrupted. */
export class StreamError extends Error {
  override readonly name = 'StreamError'
  readonly code: StreamErrorCode
  /** The status and the headers of the response, if there was one. */
  readonly status: number | undefined
  readonly headers: Headers | undefined
  /** Milliseconds, from the `Retry-After` of the response (RFC 9110 §10.2.3). */
  readonly retryAfter: number | undefined
  /**
   * FST_SSE_SERVER_ERROR: the data of the server's `error` event, problem details (RFC 9457) by default.
   * FST_SSE_INVALID_EVENT: the data that is invalid.
   */
  readonly data: unknown

  constructor (
    code: StreamErrorCode,
    message: string,
    details: { response?: Response, data?: unknown, cause?: unknown } = {}
  ) {
    super(message, details)
    const { response, data } = details
    this.code = code
    this.status = response?.status
    this.headers = response?.headers
    this.retryAfter = delayOf(this.headers?.get('retry-after') ?? '')
    this.data = data
  }
}

/** Parses a `Retry-After`, seconds or a date, to milliseconds from now. */
function delayOf (text: string): number | undefined {
  const time = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now()
  return Number.isNaN(time) ? undefined : Math.max(0, time)
}
