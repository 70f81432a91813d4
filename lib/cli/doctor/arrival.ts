import type { Piece } from './arrivals.ts'
import { heldBack, lagOf } from './comparison.ts'
import type { Examination } from './examination.ts'
import { isStream, type Exchange } from './exchange.ts'
import { counted, note, probeOf, problem, timeText, warning, type Finding, type Probe } from './finding.ts'

// A server writes an event as a whole: a second half that is so late was held back. Milliseconds.
const TORN = 500
const SILENCE = 1_000
// Milliseconds: more than a proxy needs to forward an event, and less than a kernel delays an acknowledgement.
const LAGGING = 150
// A sign that also occurs by chance counts from the second time on.
const TWICE = 2
const MANY = 3
// The sizes of buffers are multiples of this. Bytes.
const ROUND = 4_096

// For clients that no setting of a proxy can help.
const FALLBACK = note(
  'Clients behind a proxy that cannot be set may poll, if the route has the format \'json\' beside event streams.',
  "server: formats: ['event-stream', 'json']; client: withPolling() of fastify-typed-sse-client/poll"
)

const OFF = 'nginx: proxy_buffering off, proxy_http_version 1.1; any: no buffering for text/event-stream'

/** Checks whether events arrive when they happen, as far as a client can see. */
export function arrival ({ base, origin, seconds }: Examination): Probe {
  const { arrivals: { events, comments, pieces } } = base
  const summary = pieces.length === 0
    ? `nothing within ${timeText(Math.min(base.end.at, seconds * 1_000))}`
    : `${counted(events.length, 'event')} and ${counted(comments.length, 'comment')}, in ${
      counted(pieces.length, 'piece')
    }`
  const compared = origin === undefined ? [] : comparedWith(origin, base)
  const isLate = ({ mark }: Finding): boolean => mark === 'problem'
  const found = compared.some(isLate) ? compared : [...compared, ...patternsOf(base)]
  return probeOf('arrival', summary, [...found, ...found.some(isLate) ? [FALLBACK] : [], ...accelHeaderOf(base, origin)])
}

function comparedWith (origin: Exchange, base: Exchange): Finding[] {
  if (origin.arrivals.pieces.length === 0) {
    return [
      warning(
        `The origin sent no byte${
          origin.end.error === undefined ? '' : ` (${origin.end.error.message})`
        }: there is nothing to compare with.`
      )
    ]
  }
  const delay = heldBack(origin, base)
  if (delay === undefined) return [steadyLag(origin, base)]
  return [problem(base.arrivals.pieces.length === 0
    ? `The stream is buffered: the origin sent its first byte ${
      timeText(delay.most)
    } before the end of the examination, and no byte arrived here.`
    : `The stream is buffered: ${counted(delay.events, 'event')} arrived later than from the origin, by up to ${
      timeText(delay.most)
    }.`, OFF)]
}

/**
 * Returns the finding for a steady lag: a proxy that waits for more bytes before it sends delays each event by the same
 * time.
 */
function steadyLag (origin: Exchange, base: Exchange): Finding {
  const lag = lagOf(origin, base)
  const text = 'Compared with the origin no event is held back.'
  if (lag === undefined) return note(text)
  const times = `${timeText(lag.median)} later than at the origin (median; at most ${timeText(lag.most)})`
  if (lag.median < LAGGING) return note(`${text} ${counted(lag.events, 'event')} arrived ${times}.`)
  return warning(`Each event is delayed on the way: ${counted(lag.events, 'event')} arrived ${times}.`,
    'HAProxy: option http-no-delay; any: TCP_NODELAY')
}

function patternsOf ({ arrivals: { pieces, events }, end }: Exchange): Finding[] {
  if (pieces.length === 0) {
    const text = 'From here a silent stream looks like a buffered one.'
    return end.how === 'left'
      ? [
          warning(`No byte arrived. ${text}`,
            '--origin <url> compares with the stream itself; --seconds above heartbeatInterval')
        ]
      : []
  }
  const torn = pieces.filter((piece, index) => isTorn(piece, pieces[index + 1]))
  const round = torn.some(piece => sizeUpTo(pieces, piece) % ROUND === 0)
  if (torn.length >= TWICE || round) {
    return [
      problem(
        `The stream looks buffered: ${
          torn.length === 1 ? 'a piece' : `${torn.length} pieces`
        } ended in the middle of an event whose rest arrived more than ${timeText(TORN)} later (${
          sizesOf(torn)
        }). Servers write whole events; a buffer sends its bytes when it is full.`,
        OFF
      )
    ]
  }
  const [first, ...others] = pieces
  if (others.length === 0 && end.how !== 'left' && events.length >= MANY && first!.at >= SILENCE &&
    end.at - first!.at < SILENCE) {
    return [
      problem(
        `The stream looks buffered: no byte for ${
          timeText(first!.at)
        }, then all ${events.length} events and the end together.`,
        OFF
      )
    ]
  }
  const lumps = others.filter((piece, index) => piece.events >= MANY && piece.at - pieces[index]!.at >= SILENCE)
  if (lumps.length < TWICE || others.some(piece => piece.events === 1)) return []
  return [
    warning(`The stream may be buffered: events arrive together, ${
      lumps.map(piece => piece.events).slice(0, 5).join(', ')
    } after a silence. A server may also send them like that.`, '--origin <url> shows which')
  ]
}

const isTorn = ({ whole, at }: Piece, next: Piece | undefined): boolean =>
  !whole && next !== undefined && next.at - at >= TORN
const sizeUpTo = (pieces: readonly Piece[], last: Piece): number =>
  pieces.slice(0, pieces.indexOf(last) + 1).reduce((sum, { bytes }) => sum + bytes, 0)
const sizesOf = (pieces: readonly Piece[]): string => `${pieces.slice(0, 5).map(({ bytes }) => bytes).join(', ')} bytes`

/** Checks the header that disables buffering. nginx removes it, so behind nginx only the origin shows it. */
function accelHeaderOf ({ head }: Exchange, origin: Exchange | undefined): Finding[] {
  const heads = [head, origin?.head].filter(head => head !== undefined)
  if (heads.some(({ headers }) => headers['x-accel-buffering'] === 'no') ||
    (origin === undefined && /nginx/i.test(String(head?.headers.server)))) return []
  return [
    warning('The header x-accel-buffering: no is missing: it disables buffering in every nginx on the way.',
      'x-accel-buffering: no')
  ]
}

const COMPRESSION_OFF =
  'no compression for text/event-stream (nginx: not in gzip_types; @fastify/compress: not in customTypes), or a flush after each event'

/** Checks whether a client that accepts compression, as a browser does, gets events later than one that does not. */
export function compression ({ base, compressed }: Examination): Probe {
  const { head } = compressed
  if (!isStream(compressed)) {
    const answer = head === undefined
      ? compressed.end.error?.message ?? 'no response'
      : `${head.status} ${head.headers['content-type'] ?? ''}`.trim()
    return probeOf('compression', 'unknown', [
      warning(
        `With accept-encoding: gzip, br the response is different: ${answer}. There may be a limit of connections.`
      )
    ])
  }
  const encoding = head!.headers['content-encoding'] ?? 'identity'
  if (encoding === 'identity') return probeOf('compression', 'none', [])
  const delay = heldBack(base, compressed)
  if (delay !== undefined) {
    return probeOf('compression', encoding, [problem(compressed.arrivals.pieces.length === 0
      ? `Compression holds events back: with ${encoding} no byte of the stream arrived, ${
        timeText(delay.most)
      } after the first one without.`
      : `Compression holds events back: with ${encoding} ${
        counted(delay.events, 'event')
      } arrived later than without, by up to ${timeText(delay.most)}.`, COMPRESSION_OFF)])
  }
  const known = base.arrivals.pieces.length > 0
  return probeOf('compression', encoding, [
    note(known
      ? `The stream is compressed (${encoding}) and no event is held back. Compression costs memory for each stream.`
      : `The stream is compressed (${encoding}). No byte arrived, so it is unknown whether compression holds events back.`,
    known ? undefined : COMPRESSION_OFF)
  ])
}
