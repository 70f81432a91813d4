const PAYLOAD = 200
// Closes each payload: it is what the audience counts.
const MARK = '~'

/** A payload of 200 bytes of JSON that ends with the text. */
export function payload (text) {
  return { text: `${text}${MARK}`.padStart(PAYLOAD - '{"text":""}'.length, 'x') }
}

/** Answers the load generator's order: `burst` events in each of so many turns of the event loop. The same for every contestant. */
export function publishing (publish) {
  let n = 0
  return {
    async publish (turns, burst) {
      for (let turn = 0; turn < turns; turn++) {
        for (let event = 0; event < burst; event++) publish(++n, payload(n))
        await new Promise(setImmediate)
      }
    }
  }
}
