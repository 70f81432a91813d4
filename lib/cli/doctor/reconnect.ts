import { END_ID, GAP_EVENT, RESET_EVENT } from '../../wire/protocol.ts'
import type { Examination } from './examination.ts'
import type { Exchange } from './exchange.ts'
import { note, probeOf, problem, timeText, warning, type Finding, type Probe } from './finding.ts'

/** What a client gets that comes back. */
export function reconnect ({ base, back }: Examination): Probe {
  const { arrivals: { lastEventId, events } } = base
  const position = lastEventId === '' ? 'without an id' : `after ${lastEventId}`
  const ids = lastEventId !== '' || events.length === 0 ? [] : [warning('Events have no id: what happens while a client is away is lost for it.', 'id on events, or a channel')]
  if (back?.head === undefined) return probeOf('reconnect', `${position}: no answer`, [...ids, problem(`There was no answer for one who comes back: ${back?.end.error?.message ?? 'nothing came'}.`)])
  const { status, at } = back.head
  return probeOf('reconnect', `${position}: ${status} after ${timeText(at)}`, [...ids, ...statusOf(status, lastEventId), ...status === 200 && lastEventId !== '' ? wayOf(base, back) : []])
}

function statusOf (status: number, lastEventId: string): Finding[] {
  if (status === 200 || (status === 204 && lastEventId === END_ID)) return []
  if (status === 204) return [note('204 says that there is nothing more: a native EventSource does not come back.')]
  return [problem(`Who comes back gets ${status}: a native EventSource gives up at any status but 200, for good.`, status >= 500 ? 'nginx: proxy_next_upstream error timeout http_503; a server that is there' : undefined)]
}

function wayOf ({ arrivals: before }: Exchange, { arrivals: after }: Exchange): Finding[] {
  const [first, now] = [before.events[0], after.events[0]]
  if (now?.event === RESET_EVENT) return [warning('Who comes back is reset: the position is not in the history any more.', 'history: more events, bytes or age; the same log for all nodes')]
  if (now?.event === GAP_EVENT) return [warning('Who comes back has a gap: part of what was missed is not in the history any more.', 'history: more events, bytes or age')]
  const anew = first !== undefined && now !== undefined && before.events.length > 1 && first.id === now.id && first.data === now.data && first.id !== before.lastEventId
  if (anew) return [warning('Who comes back gets it from the beginning: Last-Event-ID is not heeded, or does not get through.', 'begin after request.lastEventId')]
  return after.marks.length > 0 ? [note('It goes on after that id, and says so.')] : []
}
