import { END_ID, GAP_EVENT, RESET_EVENT } from '../../wire/protocol.ts'
import type { Examination } from './examination.ts'
import type { Exchange } from './exchange.ts'
import { note, probeOf, problem, timeText, warning, type Finding, type Probe } from './finding.ts'

/** Checks the response for a reconnecting client. */
export function reconnect ({ base, back }: Examination): Probe {
  const { arrivals: { lastEventId, events } } = base
  const position = lastEventId === '' ? 'without an id' : `after ${lastEventId}`
  const ids = lastEventId !== '' || events.length === 0
    ? []
    : [
        warning('Events have no id: a reconnecting client misses the events in between.',
          'an id on each event, or a channel')
      ]
  if (back?.head === undefined) {
    return probeOf('reconnect', `${position}: no response`, [...ids,
      problem(`A reconnecting client got no response: ${back?.end.error?.message ?? 'no byte arrived'}.`)])
  }
  const { status, at } = back.head
  return probeOf('reconnect', `${position}: ${status} after ${timeText(at)}`, [...ids, ...statusOf(status, lastEventId),
    ...status === 200 && lastEventId !== '' ? resumptionOf(base, back) : []])
}

function statusOf (status: number, lastEventId: string): Finding[] {
  if (status === 200 || (status === 204 && lastEventId === END_ID)) return []
  if (status === 204) return [note('204 means that there are no more events: a native EventSource does not reconnect.')]
  return [
    problem(`A reconnecting client gets ${status}: a native EventSource stops for good at any status other than 200.`,
      status >= 500 ? 'nginx: proxy_next_upstream error timeout http_503; a server that is running' : undefined)
  ]
}

function resumptionOf ({ arrivals: before }: Exchange, { arrivals: after }: Exchange): Finding[] {
  const [first, now] = [before.events[0], after.events[0]]
  if (now?.event === RESET_EVENT) {
    return [
      warning('A reconnecting client is reset: its position is no longer in the history.',
        'history: a larger maxEvents, maxBytes or maxAge; one event log for all nodes')
    ]
  }
  if (now?.event === GAP_EVENT) {
    return [
      warning('A reconnecting client has a gap: part of the missed events is no longer in the history.',
        'history: a larger maxEvents, maxBytes or maxAge')
    ]
  }
  const restarts = first !== undefined && now !== undefined && before.events.length > 1 && first.id === now.id &&
    first.data === now.data && first.id !== before.lastEventId
  if (restarts) {
    return [
      warning(
        'A reconnecting client gets the stream from the beginning: the server ignores Last-Event-ID, or a proxy removes it.',
        'start after request.lastEventId'
      )
    ]
  }
  return after.marks.length > 0 ? [note('The stream resumes after that id, and its comments confirm it.')] : []
}
