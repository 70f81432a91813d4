import { execFile } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import sse, { type AnyEvent, type CloseReport } from '../../lib/index.ts'
import { chances } from '../setup/chances.ts'
import { listeners, settledMemory, timersAndSockets } from '../setup/leftovers.ts'
import { listen } from '../setup/listen.ts'
import { open } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

const CYCLES = 1_000
const AT_ONCE = 20

t.test('L3: a thousand clients that connect and disconnect at any moment leave nothing behind', async t => {
  const before = timersAndSockets()
  const app = Fastify()
  const opened = { streams: 0, sources: 0, returned: 0 }
  const reports: Record<string, number> = {}
  const traces: Array<WeakRef<object>> = []
  const closings = new EventEmitter()
  await app.register(sse, {
    flushHeadersAfter: 20,
    heartbeatInterval: 30,
    onClose: ({ reason }: CloseReport) => {
      reports[reason] = (reports[reason] ?? 0) + 1
      closings.emit('closed')
    }
  })

  async function * events (signal: AbortSignal, count: number, wait: number): AsyncGenerator<AnyEvent> {
    opened.sources++
    try {
      await delay(wait, undefined, { signal })
      for (let n = 0; n < count; n++) {
        yield { data: String(n) }
        await turn()
      }
    } finally {
      opened.returned++
    }
  }

  app.get<{ Params: { count: string, wait: string } }>('/:count/:wait', { schema: { sse: { message: Type.String() } } },
    (request, reply) => {
      opened.streams++
      const { count, wait } = request.params
      const source = events(request.signal, Number(count), Number(wait))
      for (const object of [request, reply.raw, request.signal, source]) traces.push(new WeakRef(object))
      return reply.sse(source)
    })
  const port = await listen(t, app)
  const connections = promisify(app.server.getConnections.bind(app.server))

  /** One visit of a client, which ends at a random moment, with FIN or RST. */
  async function visit (moment: number, manners: number, turns: number): Promise<void> {
    const path = ['/0/100000000', '/100000000/0', '/100000000/1', '/3/0'][moment]!
    const client = await open(port, { path })
    if (moment === 1) await client.until('data: 0\n\n')
    if (moment === 2) await client.until('data: 5\n\n')
    if (moment === 3) await client.until('0\r\n\r\n')
    // Before the head, so the request may be at any step.
    else for (let n = 0; n < turns; n++) await turn()
    if (manners === 0) client.fin()
    else client.reset()
    await client.closed
  }

  async function visits (count: number, chance: (below: number) => number): Promise<void> {
    let left = count
    const visitor = async (): Promise<void> => {
      while (left-- > 0) await visit(chance(4), chance(2), chance(8))
    }
    await Promise.all(Array.from({ length: AT_ONCE }, visitor))
    // The client's own side is notified of a RST first.
    while (opened.streams > Object.values(reports).reduce((sum, n) => sum + n, 0)) await once(closings, 'closed')
    while (await connections() > 0) await turn()
  }

  const chance = chances(2026)
  // The first rounds pay for compiled and cached code.
  await within('the first visits', visits(CYCLES / 5, chance))
  const listening = listeners(app.server)
  const processListening = listeners(process)
  const active = timersAndSockets()
  const { heap } = await settledMemory()
  await within('the visits', visits(CYCLES * 4 / 5, chance))
  const growth = (await settledMemory()).heap - heap

  t.comment(opened, reports, `heap +${Math.round(growth / 1024)} KB`)
  t.ok(opened.streams > CYCLES / 2, 'most clients stayed long enough to be served')
  t.equal(opened.returned, opened.sources, 'each source that began has run its finally')
  t.same(listeners(app.server), listening, 'the server has the listeners it had')
  t.same(listeners(process), processListening, 'and so has the process')
  t.same(timersAndSockets(), active, 'no timer and no socket stayed')
  t.ok(growth < 2 * 1024 * 1024, 'the heap has not grown')
  const alive = traces.filter(trace => trace.deref() !== undefined)
  // The last request of a socket may remain in a register or a cache of Node.
  t.ok(alive.length <= 8,
    `${alive.length} of ${traces.length} requests, responses, signals and sources are still reachable`)

  await app.close()
  await turn()
  t.same(timersAndSockets(), before)
})

t.test('L3: the objects of a stream are freed by the next young collection: none of them is promoted', async t => {
  // A separate process: the test runner's instrumentation makes objects live longer.
  const { NODE_OPTIONS: _options, NODE_V8_COVERAGE: _coverage, ...env } = process.env
  const program = fileURLToPath(new URL('../setup/short-streams.js', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', program], { env, timeout: 30_000 })
  t.match(stdout, /^-?\d+\n$/)
  t.ok(Number(stdout) < 2_000, `${stdout.trim()} bytes of each stayed, of about thirty thousand`)
})
