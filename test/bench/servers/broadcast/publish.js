import { setTimeout as delay } from 'node:timers/promises'
import { MARK } from '../mark.js'

const PAYLOAD = 200

/** A payload of 200 bytes of JSON that ends with the text. */
export function payload (text) {
  return { text: `${text}${MARK}`.padStart(PAYLOAD - '{"text":""}'.length, 'x') }
}

/** Microseconds of the clock that all processes of the machine share. */
const now = () => String(process.hrtime.bigint() / 1000n).padStart(16, '0')

/** Handles the commands of the load generator, the same for every contestant. */
export function publishing (publish) {
  let n = 0
  return {
    /** Publishes `burst` events in each of that many turns of the event loop. */
    async publish (turns, burst) {
      for (let turn = 0; turn < turns; turn++) {
        for (let event = 0; event < burst; event++) publish(++n, payload(n))
        await new Promise(setImmediate)
      }
    },

    /** Publishes that many events at the given interval in milliseconds, each with its time. */
    async pace (count, interval) {
      const started = performance.now()
      for (let event = 0; event < count; event++) {
        await delay(Math.max(1, started + event * interval - performance.now()))
        publish(++n, payload(now()))
      }
    }
  }
}
