import { END_ID } from '../../wire/protocol.ts'
import type { Examination } from './examination.ts'
import type { Exchange } from './exchange.ts'
import { note, probeOf, problem, timeText, warning, type Finding, type Probe } from './finding.ts'

// Shorter than that it is no silence. Milliseconds.
const SILENCE = 1_000
// Many things on the way (nginx, load balancers) have their limit at 60 s.
const LONG = 30_000
const USUAL = 55_000
// How far two limits of one kind may be apart.
const ALIKE = 0.25

const SETTING = (limit: number): string => `heartbeatInterval below ${timeText(limit)}; nginx: proxy_read_timeout above heartbeatInterval`

/** What becomes of a stream that is silent. */
export function silence ({ base, back }: Examination): Probe {
  const { end, arrivals: { silences, comments, pieces } } = base
  const last = pieces.at(-1)?.at ?? base.head!.at
  const quiet = end.at - last
  const beats = comments.map(at => silences[pieces.findIndex(piece => piece.at === at)]!).filter(silence => silence >= SILENCE)
  const beat = beats.sort((one, other) => one - other)[Math.floor(beats.length / 2)]
  const heartbeat = beat === undefined ? 'no heartbeat' : `a heartbeat after ${timeText(beat)} of silence`
  const how = { complete: 'ended', closed: 'ended', cut: 'cut', left: 'open', failed: 'cut' }[end.how]
  return probeOf('silence', `${how} ${how === 'open' ? 'for' : 'after'} ${timeText(end.at)}, ${heartbeat}`, [
    ...endOf(base, quiet, back),
    ...heartbeatsOf(Math.max(...silences, end.how === 'left' ? quiet : 0), beat, end)
  ])
}

function endOf ({ end, arrivals: { lastEventId } }: Exchange, quiet: number, back: Exchange | undefined): Finding[] {
  if (end.how === 'cut') return [cut(end, quiet, back)]
  if (end.how === 'closed') return [note(`It ended after ${timeText(end.at)}, the last ${timeText(quiet)} without a byte. A limit for silence, or a server that went down, would look the same here.`)]
  if (end.how !== 'complete' || lastEventId === END_ID) return []
  const again = 'A native EventSource connects again.'
  if (quiet >= SILENCE) return [note(`It ended as a whole, after ${timeText(quiet)} without a byte. ${again} Something on the way that has a limit for silence, and is polite, would look the same.`)]
  return [note(`The server ended it. ${again}`, 'finite: true, or 204, where it is finished')]
}

function cut (end: Exchange['end'], quiet: number, back: Exchange | undefined): Finding {
  const again = back?.end.how === 'cut' ? back : undefined
  const backQuiet = again === undefined ? 0 : again.end.at - (again.arrivals.pieces.at(-1)?.at ?? again.head!.at)
  if (end.error?.name === 'StreamError') return problem(`It cannot be read: ${end.error.message}.`)
  if (quiet >= SILENCE) {
    const twice = Math.abs(backQuiet - quiet) <= quiet * ALIKE ? `, and the next one after ${timeText(backQuiet)}` : ''
    return problem(`The connection was cut after ${timeText(quiet)} without a byte${twice}, and without an end. That is how a limit for silence on the way looks.`, SETTING(quiet))
  }
  const twice = again !== undefined && Math.abs(again.end.at - end.at) <= end.at * ALIKE
  return twice
    ? problem(`The connection was cut after ${timeText(end.at)}, and the next one after ${timeText(again.end.at)}, in the middle of what came: that is how a limit for whole answers looks.`, `maxLifetime below ${timeText(end.at)}, so that streams end as a whole; or a longer limit`)
    : problem(`The connection was cut after ${timeText(end.at)}, without an end: the server or something before it went down, or has a limit.`)
}

function heartbeatsOf (longest: number, beat: number | undefined, { how, at }: Exchange['end']): Finding[] {
  if (how === 'cut') return []
  if (beat !== undefined && beat >= USUAL) return [warning(`Heartbeats come after ${timeText(beat)} of silence, and many proxies cut after 60 s.`, 'heartbeatInterval: 15000')]
  if (beat !== undefined) return []
  if (longest >= LONG) return [warning(`There were ${timeText(longest)} of silence without a heartbeat. Many proxies cut after 60 s, and nobody notices a client that is gone.`, 'heartbeatInterval: 15000')]
  return longest >= at / 2 && longest >= SILENCE ? [note(`It was silent for ${timeText(longest)}, too short to see whether there are heartbeats.`, '--seconds more than heartbeatInterval (15 s unless you set another)')] : []
}
