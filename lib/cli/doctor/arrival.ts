import type { Piece } from './arrivals.ts'
import { heldBack, lagOf } from './comparison.ts'
import type { Examination } from './examination.ts'
import type { Exchange } from './exchange.ts'
import { counted, note, probeOf, problem, timeText, warning, type Finding, type Probe } from './finding.ts'

// An event is written as a whole, so that its second half never is that late by itself. Milliseconds.
const TORN = 500
const SILENCE = 1_000
// Milliseconds: more than a proxy needs to forward an event, and less than a kernel delays an acknowledgement.
const LAGGING = 150
// Of what happens by chance, too, there must be more than one.
const TWICE = 2
const MANY = 3
// Buffers have round sizes.
const ROUND = 4_096

const OFF = 'nginx: proxy_buffering off, proxy_http_version 1.1; any: no buffering for text/event-stream'

/** Whether events come when they happen, as far as that can be told from here. */
export function arrival ({ base, origin, seconds }: Examination): Probe {
  const { arrivals: { events, comments, pieces } } = base
  const summary = pieces.length === 0 ? `nothing within ${timeText(Math.min(base.end.at, seconds * 1_000))}` : `${counted(events.length, 'event')} and ${counted(comments.length, 'comment')}, in ${counted(pieces.length, 'piece')}`
  const compared = origin === undefined ? [] : comparedWith(origin, base)
  return probeOf('arrival', summary, [...compared, ...compared.some(({ mark }) => mark === 'problem') ? [] : looksOf(base), ...permissionOf(base, origin)])
}

function comparedWith (origin: Exchange, base: Exchange): Finding[] {
  if (origin.arrivals.pieces.length === 0) return [warning(`Nothing came from the origin${origin.end.error === undefined ? '' : ` (${origin.end.error.message})`}: there is nothing to compare with.`)]
  const delay = heldBack(origin, base)
  if (delay === undefined) return [steadyLag(origin, base)]
  return [problem(base.arrivals.pieces.length === 0
    ? `It is buffered: the origin sent its first byte ${timeText(delay.most)} before we left, and here nothing came.`
    : `It is buffered: ${counted(delay.events, 'event')} came later than from the origin, by up to ${timeText(delay.most)}.`, OFF)]
}

/** A proxy that waits for more bytes before it sends delays each event by the same time. */
function steadyLag (origin: Exchange, base: Exchange): Finding {
  const lag = lagOf(origin, base)
  const text = 'Compared with the origin nothing is held back.'
  if (lag === undefined) return note(text)
  const times = `${timeText(lag.median)} later than at the origin (median; ${timeText(lag.most)} at most)`
  if (lag.median < LAGGING) return note(`${text} ${counted(lag.events, 'event')} arrived ${times}.`)
  return warning(`Each event waits on the way: ${counted(lag.events, 'event')} arrived ${times}.`, 'HAProxy: option http-no-delay; any: TCP_NODELAY')
}

function looksOf ({ arrivals: { pieces, events }, end }: Exchange): Finding[] {
  if (pieces.length === 0) {
    const text = 'From here a stream that says nothing looks like one that is held back.'
    return end.how === 'left' ? [warning(`Not a byte came. ${text}`, '--origin <url> compares with the stream itself; --seconds more than heartbeatInterval')] : []
  }
  const torn = pieces.filter((piece, index) => isTorn(piece, pieces[index + 1]))
  const round = torn.some(piece => sizeUpTo(pieces, piece) % ROUND === 0)
  if (torn.length >= TWICE || round) {
    return [problem(`It looks buffered: ${torn.length === 1 ? 'a piece' : `${torn.length} pieces`} ended in the middle of an event whose rest came more than ${timeText(TORN)} later (${sizesOf(torn)}). Servers write whole events; buffers let go when they are full.`, OFF)]
  }
  const [first, ...others] = pieces
  if (others.length === 0 && end.how !== 'left' && events.length >= MANY && first!.at >= SILENCE && end.at - first!.at < SILENCE) {
    return [problem(`It looks buffered: nothing for ${timeText(first!.at)}, then all ${events.length} events and the end at once.`, OFF)]
  }
  const lumps = others.filter((piece, index) => piece.events >= MANY && piece.at - pieces[index]!.at >= SILENCE)
  if (lumps.length < TWICE || others.some(piece => piece.events === 1)) return []
  return [warning(`It may be buffered: events come together, ${lumps.map(piece => piece.events).slice(0, 5).join(', ')} after silence. A server may send them like that.`, '--origin <url> tells which')]
}

const isTorn = ({ whole, at }: Piece, next: Piece | undefined): boolean => !whole && next !== undefined && next.at - at >= TORN
const sizeUpTo = (pieces: readonly Piece[], last: Piece): number => pieces.slice(0, pieces.indexOf(last) + 1).reduce((sum, { bytes }) => sum + bytes, 0)
const sizesOf = (pieces: readonly Piece[]): string => `${pieces.slice(0, 5).map(({ bytes }) => bytes).join(', ')} bytes`

/** nginx takes the header for itself, so behind it only the origin can tell. */
function permissionOf ({ head }: Exchange, origin: Exchange | undefined): Finding[] {
  const asked = [head, origin?.head].filter(head => head !== undefined)
  if (asked.some(({ headers }) => headers['x-accel-buffering'] === 'no') || (origin === undefined && /nginx/i.test(String(head?.headers.server)))) return []
  return [warning('There is no x-accel-buffering: no, which tells every nginx on the way not to buffer.', 'x-accel-buffering: no')]
}
