import { FST_SSE_EVENT, FST_SSE_FIELD, describe } from '../errors.ts'
import { LIVE, POSITION_EVENT, REPLAY } from './protocol.ts'

// Encodes the fields of an event as a frame: the bytes of one event on the wire. Grammar: WHATWG HTML §9.2.5 "Parsing
// an event stream". Each line ends with LF alone, a space follows each colon, and the blank line at the end dispatches.

// A line of the format ends at CRLF, LF or CR. A name must not contain NUL either.
const LINE_END = /\r\n|\r|\n/
// eslint-disable-next-line no-control-regex
const FORBIDDEN = /[\r\n\u0000]/

// A client sends an id back in the header `Last-Event-ID`. HTTP rejects control characters other than a tab there, and
// strips spaces and tabs at both ends (RFC 9110 §5.5). UTF-8 has no lone surrogates. Proxies reject a header line of
// more than 8 KiB.
const MAX_ID = 4_096
const PLAIN_ID = /^[!-~]*$/
// eslint-disable-next-line no-control-regex
const LOST_IN_HEADER = /[\u0000-\u0008\u000a-\u001f\u007f\p{Surrogate}]|^[ \t]|[ \t]$/u
const VALID_ID =
  `a finite number or a string that a header can carry: at most ${MAX_ID} bytes of UTF-8, no control character but a tab, no space or tab at an end`

/** Whether an HTTP header can carry the id unchanged. Most ids are plain ASCII and need one search only. */
function fitsHeader (id: string): boolean {
  if (id.length > MAX_ID) return false
  return PLAIN_ID.test(id) || (!LOST_IN_HEADER.test(id) && Buffer.byteLength(id) <= MAX_ID)
}

/** Returns a comment frame. Clients ignore it, but it resets the idle timers of proxies. */
export function encodeComment (text: string): string {
  if (typeof text !== 'string') throw new FST_SSE_FIELD('comment', 'a string', describe(text))
  if (text === '') return ':\n\n'
  return `: ${text.split(LINE_END).join('\n: ')}\n\n`
}

/** The comment that keeps an idle connection alive. */
export const HEARTBEAT = ':\n\n'

/** The comment line in front of the first replayed event. */
export const REPLAY_LINE = `: ${REPLAY}\n`
/** The comment line in front of the first live event. A blank line makes a frame of it. */
export const LIVE_LINE = `: ${LIVE}\n`

/** Whether an `event:` line can carry the name. */
export const isEventName = (name: string): boolean => !FORBIDDEN.test(name)

/** Returns the `event:` line, or an empty string for `message`, the default name of a client (§9.2.6). */
export function encodeName (name: string | undefined): string {
  if (name === undefined || name === 'message' || name === '') return ''
  if (typeof name !== 'string' || !isEventName(name)) {
    throw new FST_SSE_FIELD('event', 'a string without CR, LF and NUL', describe(name))
  }
  return `event: ${name}\n`
}

/**
 * Returns the `id:` and `retry:` lines. 0 and '' are values; only undefined is absent. FST_SSE_FIELD for an id that no
 * client can send back, and for a `retry` that is no whole number of milliseconds.
 */
export function encodePosition (id: string | number | undefined, retry: number | undefined): string {
  let lines = ''
  if (id !== undefined) {
    const valid = typeof id === 'string' ? fitsHeader(id) : Number.isFinite(id)
    if (!valid) throw new FST_SSE_FIELD('id', VALID_ID, describe(id))
    lines = `id: ${id}\n`
  }
  if (retry !== undefined) {
    // The standard accepts ASCII digits only: no sign, no fraction, no exponent.
    if (!Number.isSafeInteger(retry) || retry < 0) {
      throw new FST_SSE_FIELD('retry', 'a whole number of milliseconds, 0 or more', describe(retry))
    }
    lines += `retry: ${retry}\n`
  }
  return lines
}

/**
 * Returns the `data:` lines and the blank line. Text without a line end is the common case and is not split. The search
 * runs on the whole frame: V8 then flattens its string once, and not again for each write.
 */
export function encodeData (text: string): string {
  const frame = `data: ${text}\n\n`
  if (frame.indexOf('\n') === frame.length - 2 && frame.indexOf('\r') === -1) return frame
  return `data: ${text.split(LINE_END).join('\ndata: ')}\n\n`
}

/**
 * Returns the frame of a position without an event of the application. By the standard, a block with an `id` line alone
 * sets the last event ID, before the client checks for data (WHATWG HTML §9.2.6). Chromium does so. Firefox, WebKit and
 * several other clients keep an id only with an event that they dispatch. All of them keep the id of an event with a
 * reserved name and one empty line of data, and no page has a listener for that name.
 */
export function encodePositionFrame (id: string | number, retry?: number): string {
  return `event: ${POSITION_EVENT}\n${encodePosition(id, retry)}${encodeData('')}`
}

/** Returns the frame of a control event: a comment, a position or a reconnection delay. */
export function encodeControl (
  event: { comment?: string | undefined, id?: string | number | undefined, retry?: number | undefined }
): string {
  const { id, retry } = event
  const comment = event.comment === undefined ? '' : encodeComment(event.comment)
  if (id !== undefined) return comment + encodePositionFrame(id, retry)
  if (retry !== undefined) return `${comment}${encodePosition(undefined, retry)}\n`
  if (comment === '') throw new FST_SSE_EVENT(describe(event))
  return comment
}
