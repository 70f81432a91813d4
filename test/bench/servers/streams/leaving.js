import { setTimeout as delay } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import { MARK } from '../mark.js'
import { report } from '../report.js'

const BLOCK = { data: { text: 'x'.repeat(16_384) + MARK } }

const now = () => Number(process.hrtime.bigint() / 1000n)

/**
 * The times at which the end of each visit was noticed, in order: microseconds of the clock that all processes share.
 */
const left = []
const waiting = []

async function * watched (events, visit) {
  try {
    yield * events
  } finally {
    visit.finally = now()
  }
}

async function * endless () {
  for (;;) yield BLOCK
}

/** Waits forever, as a source waits for a database or a model. */
async function * silent (signal) {
  yield BLOCK
  await delay(1e9, undefined, { signal })
}

const app = Fastify()
await app.register(sse)

for (const [path, eventsOf] of [['/silent', silent], ['/endless', endless]]) {
  app.get(path, { schema: { sse: { message: Type.Object({ text: Type.String() }) } } }, async (request, reply) => {
    const visit = {}
    request.signal.addEventListener('abort', () => { visit.signal = now() })
    const source = watched(eventsOf(request.signal), visit)
    const end = source.return.bind(source)
    source.return = value => {
      visit.return = now()
      return end(value)
    }
    await reply.sse(source)
    visit.settled = now()
    // A `finally` that waits for the signal runs a few microtasks later.
    setImmediate(() => {
      left.push(visit)
      waiting.shift()?.()
    })
  })
}

await app.listen({ host: '127.0.0.1', port: 0 })
report(app.server.address().port, {
  /** The end of the next visit. */
  async left () {
    if (left.length === 0) await new Promise(resolve => waiting.push(resolve))
    return left.shift()
  }
})
