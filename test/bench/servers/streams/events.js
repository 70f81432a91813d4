import { setTimeout as delay } from 'node:timers/promises'
import { MARK } from '../mark.js'

const turn = () => new Promise(setImmediate)

const event = n => ({ data: { status: 200, resMsg: `server sent event message: ${n}${MARK}` } })

/** Small events: always ready, or one per turn of the event loop. */
async function * countTo (last, paced) {
  for (let n = 1; n <= last; n++) {
    if (paced) await turn()
    yield event(n)
  }
}

/**
 * Parses the path: `/200000` that many events as fast as possible, `/100/turns` one per turn, `/Infinity` without end.
 */
export function eventsOf (path) {
  const [, last, pace] = path.split('/')
  return countTo(Number(last), pace === 'turns')
}

/** For libraries that take only the text of `data`. */
export async function * textsOf (path) {
  for await (const { data } of eventsOf(path)) yield JSON.stringify(data)
}

const streams = { running: 0, closed: 0 }

/** Small events of a source that obeys a signal, and counts the streams that run. */
export async function * cancelable (last, signal) {
  streams.running++
  try {
    for (let n = 1; n <= last && !signal.aborted; n++) yield event(n)
  } finally {
    streams.running--
  }
}

/** Counts a closed stream of `/natural/10`: each contestant calls it from its own callback. */
export function closed () { streams.closed++ }

export const closing = {
  /** Waits until that many streams were counted as closed, and no source runs. */
  async closed (wanted) {
    while (streams.closed < wanted || streams.running > 0) await delay(1)
  }
}
