import {
  encodeComment, encodeControl, encodeData, encodeName, encodePosition, HEARTBEAT, LIVE_LINE,
  REPLAY_LINE
} from './encode.ts'

/** The fields of an event beside its name and data. */
export interface EventFields {
  comment?: string | undefined
  id?: string | number | undefined
  retry?: number | undefined
}

/** The name and the serialized data of an event. */
export interface EventText {
  readonly event: string
  /** JSON or plain text. */
  readonly data: string
  readonly json: boolean
}

/** The form of the events of a stream. A stream has one, for all of its frames. */
export interface WireFormat {
  /** Keeps an idle connection alive. */
  readonly heartbeat: string
  /**
   * In front of the first replayed event, and of the first live one. With a line end, each is a frame. Empty in a
   * format without such marks.
   */
  readonly replay: string
  readonly live: string
  /** Returns the frame of an event. `line`: its `event:` line, which has checked the name. */
  event: (fields: EventFields, text: EventText, line: string) => string
  /** Returns the frame of a control event: a comment, a position or a reconnection delay. */
  control: (fields: EventFields) => string
  /** Returns the frame of a stored event. */
  entry: (text: EventText, id: string) => string
}

/** Server-Sent Events (WHATWG HTML §9.2). */
export const EVENT_STREAM: WireFormat = {
  heartbeat: HEARTBEAT,
  replay: REPLAY_LINE,
  live: LIVE_LINE,
  event ({ comment, id, retry }, { data }, line) {
    const position = id === undefined && retry === undefined ? '' : encodePosition(id, retry)
    return (comment === undefined ? '' : encodeComment(comment)) + line + position + encodeData(data)
  },
  control: encodeControl,
  entry: ({ event, data }, id) => `${encodeName(event)}id: ${id}\n${encodeData(data)}`
}
