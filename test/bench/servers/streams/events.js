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

/** What a path asks of every contestant: `/200000` so many events as fast as they go, `/100/turns` one per turn, `/Infinity` no end of them. */
export function eventsOf (path) {
  const [, last, pace] = path.split('/')
  return countTo(Number(last), pace === 'turns')
}

/** For those who take the text of `data` alone. */
export async function * textsOf (path) {
  for await (const { data } of eventsOf(path)) yield JSON.stringify(data)
}
