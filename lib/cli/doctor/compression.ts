import { heldBack } from './comparison.ts'
import type { Examination } from './examination.ts'
import { isStream } from './exchange.ts'
import { counted, note, probeOf, problem, timeText, warning, type Probe } from './finding.ts'

const OFF = 'no compression for text/event-stream (nginx: not in gzip_types; @fastify/compress: not in customTypes), or a flush after each event'

/** Whether a browser, which takes compressed answers, gets events later than one who does not. */
export function compression ({ base, compressed }: Examination): Probe {
  const { head } = compressed
  if (!isStream(compressed)) {
    const answer = head === undefined ? compressed.end.error?.message ?? 'no answer' : `${head.status} ${head.headers['content-type'] ?? ''}`.trim()
    return probeOf('compression', 'unknown', [warning(`With accept-encoding: gzip, br it answers otherwise: ${answer}. There may be a limit of connections.`)])
  }
  const encoding = head!.headers['content-encoding'] ?? 'identity'
  if (encoding === 'identity') return probeOf('compression', 'none', [])
  const delay = heldBack(base, compressed)
  if (delay !== undefined) {
    return probeOf('compression', encoding, [problem(compressed.arrivals.pieces.length === 0
      ? `Compression holds events back: with ${encoding} not a byte of the stream came, ${timeText(delay.most)} after the first one without.`
      : `Compression holds events back: with ${encoding} ${counted(delay.events, 'event')} came later than without, by up to ${timeText(delay.most)}.`, OFF)])
  }
  const known = base.arrivals.pieces.length > 0
  return probeOf('compression', encoding, [note(known ? `It is compressed (${encoding}), and nothing is held back. It costs memory for each stream.` : `It is compressed (${encoding}). Nothing came, so that nobody knows whether that holds it back.`, known ? undefined : OFF)])
}
