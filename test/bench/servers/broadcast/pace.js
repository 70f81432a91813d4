import { setTimeout as sleep } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import { MARK } from '../mark.js'
import { report } from '../report.js'

const TICK = 10
const events = { price: Type.Object({ symbol: Type.Integer(), text: Type.String() }), done: Type.String() }

const app = Fastify()
await app.register(sse)
// Loops that cannot keep up must not end.
const prices = app.sse.channel('prices', { events, history: { maxEvents: 1_000_000, maxBytes: 1_000_000_000 } })
const keyOf = event => event.event === 'price' ? event.data.symbol : undefined
let every = 100

/** Conflates in a loop of its own, as a handler would without a pace. */
async function * loop ({ signal }) {
  const waiting = new Map()
  const reading = (async () => {
    for await (const event of prices.subscribe({ signal })) waiting.set(keyOf(event) ?? event, event)
  })()
  try {
    while (true) {
      await sleep(every, undefined, { signal })
      const latest = [...waiting.values()]
      waiting.clear()
      for (const { event, data } of latest) yield { event, data }
    }
  } finally {
    await reading
  }
}

const sources = [
  () => prices,
  () => prices.subscribe({ pace: { every, key: keyOf } }),
  () => loop
]
let source = sources[0]
app.get('/', { schema: { sse: events } }, (request, reply) => reply.sse(source()))

await app.listen({ host: '127.0.0.1', port: 0 })
report(app.server.address().port, {
  /** Chooses the source of the streams: every event, a pace, or a loop for each. */
  serve (index, interval) {
    source = sources[index]
    every = interval
  },

  /** Publishes that many prices of that many keys at a rate per second, then an event without a key, with the mark. */
  async prices (count, keys, rate) {
    const started = performance.now()
    for (let n = 0; n < count;) {
      const due = Math.min(count, Math.ceil((performance.now() - started + TICK) * rate / 1_000))
      for (; n < due; n++) {
        prices.publish({ event: 'price', data: { symbol: n % keys, text: String(n).padStart(150, 'x') } })
      }
      await sleep(TICK)
    }
    // The loops have sent what waits.
    await sleep(every)
    prices.publish({ event: 'done', data: MARK })
  }
})
