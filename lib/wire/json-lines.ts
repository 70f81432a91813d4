import { encodeComment, encodeControl, encodePosition } from './encode.ts'
import type { WireFormat } from './format.ts'
import { POSITION_EVENT } from './protocol.ts'

// Line ends outside of strings are whitespace of JSON. Within strings, JSON allows the last three, at which several
// readers of lines split.
const LINE_ENDS = /[\n\r\u0085\u2028\u2029]/
const ALL_LINE_ENDS = new RegExp(LINE_ENDS, 'g')

const escaped = (end: string): string => end < ' ' ? ' ' : `\\u${end.charCodeAt(0).toString(16).padStart(4, '0')}`

/** Returns the line of an event: its name unless that is `message`, its id, its delay, and its data as JSON. */
function line (event: string, id: string | number | undefined, retry: number | undefined, data: string): string {
  const name = event === 'message' ? '' : `"event":${JSON.stringify(event)},`
  const position = id === undefined ? '' : `"id":${JSON.stringify(String(id))},`
  const text = `{${name}${position}${retry === undefined ? '' : `"retry":${retry},`}"data":${data}}`
  return `${LINE_ENDS.test(text) ? text.replace(ALL_LINE_ENDS, escaped) : text}\n`
}

/** `delays`: whether a client gets reconnection delays. */
const jsonLines = (delays: boolean): WireFormat => ({
  heartbeat: '\n',
  replay: '',
  live: '',
  event ({ comment, id, retry }, { event, data, json }) {
    // The same events are valid in every format.
    if (comment !== undefined) encodeComment(comment)
    if (id !== undefined || retry !== undefined) encodePosition(id, retry)
    return line(event, id, delays ? retry : undefined, json ? data : JSON.stringify(data))
  },
  control (fields) {
    encodeControl(fields)
    const { id, retry } = fields
    if (id !== undefined) return line(POSITION_EVENT, id, delays ? retry : undefined, '""')
    if (retry === undefined) return '\n'
    return delays ? `{"retry":${retry}}\n` : ''
  },
  entry: ({ event, data, json }, id) => line(event, id, undefined, json ? data : JSON.stringify(data))
})

/** One JSON object per line for each event, an empty line as heartbeat. */
export const JSON_LINES = jsonLines(true)

/** The elements of a JSON array, one per line, without the marks between them. A client does not reconnect to it. */
export const JSON_ELEMENTS = jsonLines(false)
