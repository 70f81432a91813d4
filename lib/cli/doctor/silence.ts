import { END_ID } from '../../wire/protocol.ts'
import type { Examination } from './examination.ts'
import type { Exchange } from './exchange.ts'
import { note, probeOf, problem, timeText, warning, type Finding, type Probe } from './finding.ts'

// The shortest silence. Milliseconds.
const SILENCE = 1_000
// Many proxies (nginx, load balancers) have a limit of 60 s.
const LONG = 30_000
const USUAL = 55_000
// The relative difference up to which two times are the same limit.
const ALIKE = 0.25

const SETTING = (limit: number): string =>
  `heartbeatInterval below ${timeText(limit)}; nginx: proxy_read_timeout above heartbeatInterval`

/** Checks heartbeats, and the end of a silent stream. */
export function silence ({ base, back }: Examination): Probe {
  const { end, arrivals: { silences, comments, pieces } } = base
  const last = pieces.at(-1)?.at ?? base.head!.at
  const silent = end.at - last
  const beats = comments.map(at => silences[pieces.findIndex(piece => piece.at === at)]!).filter(silence =>
    silence >= SILENCE
  )
  const beat = beats.sort((one, other) => one - other)[Math.floor(beats.length / 2)]
  const heartbeat = beat === undefined ? 'no heartbeat' : `a heartbeat after ${timeText(beat)} of silence`
  const how = { complete: 'ended', closed: 'ended', cut: 'cut', left: 'open', failed: 'cut' }[end.how]
  return probeOf('silence', `${how} ${how === 'open' ? 'for' : 'after'} ${timeText(end.at)}, ${heartbeat}`, [
    ...endOf(base, silent, back),
    ...heartbeatsOf(Math.max(...silences, end.how === 'left' ? silent : 0), beat, end)
  ])
}

function endOf ({ end, arrivals: { lastEventId } }: Exchange, silent: number, back: Exchange | undefined): Finding[] {
  if (end.how === 'cut') return [cut(end, silent, back)]
  if (end.how === 'closed') {
    return [
      note(
        `The stream ended after ${timeText(end.at)}, the last ${
          timeText(silent)
        } without a byte. A limit for silence, or a server that stopped, would look the same.`
      )
    ]
  }
  if (end.how !== 'complete' || lastEventId === END_ID) return []
  const again = 'A native EventSource reconnects.'
  if (silent >= SILENCE) {
    return [
      note(
        `The stream ended completely, after ${
          timeText(silent)
        } without a byte. ${again} A proxy that limits silence and closes cleanly would look the same.`
      )
    ]
  }
  return [note(`The server ended the stream. ${again}`, 'finite: true, or 204, if the stream is complete')]
}

function cut (end: Exchange['end'], silent: number, back: Exchange | undefined): Finding {
  const again = back?.end.how === 'cut' ? back : undefined
  const backQuiet = again === undefined ? 0 : again.end.at - (again.arrivals.pieces.at(-1)?.at ?? again.head!.at)
  if (end.error?.name === 'StreamError') return problem(`The stream cannot be read: ${end.error.message}.`)
  if (silent >= SILENCE) {
    const twice = Math.abs(backQuiet - silent) <= silent * ALIKE
      ? `, and the next one after ${timeText(backQuiet)}`
      : ''
    return problem(
      `The connection was cut after ${
        timeText(silent)
      } without a byte${twice}, and without an end. A limit for silence on the way looks like this.`,
      SETTING(silent)
    )
  }
  const twice = again !== undefined && Math.abs(again.end.at - end.at) <= end.at * ALIKE
  return twice
    ? problem(
      `The connection was cut after ${timeText(end.at)}, and the next one after ${
        timeText(again.end.at)
      }, in the middle of data: a limit for whole responses looks like this.`,
      `maxLifetime below ${timeText(end.at)}, so that streams end completely; or a longer limit`
    )
    : problem(
      `The connection was cut after ${timeText(end.at)}, without an end: the server or a proxy stopped, or has a limit.`
    )
}

function heartbeatsOf (longest: number, beat: number | undefined, { how, at }: Exchange['end']): Finding[] {
  if (how === 'cut') return []
  if (beat !== undefined && beat >= USUAL) {
    return [
      warning(`Heartbeats arrive after ${timeText(beat)} of silence, and many proxies cut the connection after 60 s.`,
        'heartbeatInterval: 15000')
    ]
  }
  if (beat !== undefined) return []
  if (longest >= LONG) {
    return [
      warning(
        `There were ${
          timeText(longest)
        } of silence without a heartbeat. Many proxies cut the connection after 60 s, and the server does not notice a client that is gone.`,
        'heartbeatInterval: 15000'
      )
    ]
  }
  return longest >= at / 2 && longest >= SILENCE
    ? [
        note(`The stream was silent for ${timeText(longest)}, too short for a heartbeat.`,
          '--seconds above heartbeatInterval (default 15 s)')
      ]
    : []
}
