import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { absent, REDIS } from '../setup/programs.ts'
import { RedisServer } from '../setup/redis.ts'
import { until } from '../setup/until.ts'
import { Worker } from '../soak/worker.ts'
import { flow, unevenness } from '../soak/evenness.ts'
import type { NodeDuties } from '../soak/node.ts'
import { Returner } from '../soak/returner.ts'
import { openFiles } from '../soak/soak.ts'

t.setTimeout(180_000)

const CLIENTS = 2_000
const SHUTDOWN_TIMEOUT = 10_000
const WINDOW = 10_000
// Milliseconds between two events. Each event is sent to all clients.
const PERIOD = 200
// For evenly distributed times, chance alone makes it 0.03 or less in 19 of 20 runs.
const MOST_UNEVEN = 0.08
const AT_ONCE = 100

const few = openFiles() < CLIENTS * 1.1 && `${CLIENTS} connections want more open files than ${openFiles()}`

t.test(
  'L7, R2, R8: a server that closes moves its clients to the next one in an even flow, and no client loses an event',
  { skip: absent(REDIS) || few },
  async t => {
    const redis = await RedisServer.start(t)
    const start = (): Promise<Worker<NodeDuties>> =>
      Worker.start<NodeDuties>(t, 'node.ts', redis.port, SHUTDOWN_TIMEOUT, WINDOW)
    const [old, next] = await Promise.all([start(), start()])
    const clients = await Promise.all([old.call('listen'), next.call('listen')]).then(ports =>
      Array.from({ length: CLIENTS }, () => new Returner(...ports))
    )
    t.teardown(() => {
      for (const client of clients) client.leave()
    })
    for (const [index, client] of clients.entries()) {
      client.join()
      if (index % AT_ONCE === 0) await pause(20)
    }
    await until('all are subscribed at the old server', () => clients.every(({ live }) => live))
    // Published by the node that stays.
    await next.call('publish', PERIOD)
    await until('all get events', () => clients.every(({ place: { events } }) => events > 0))

    const took = await old.call('close')
    await until('all have reconnected', () => clients.every(({ returnedAt, live }) => returnedAt !== undefined && live))
    const published = await next.call('rest')
    await until('all have got all', () => clients.every(({ place: { position } }) => position === published))

    t.comment(`close() took ${took.toFixed(0)} ms`)
    t.ok(took <= SHUTDOWN_TIMEOUT, 'close() took no longer than its shutdownTimeout')
    t.strictSame(clients.filter(({ endings: [ending] }) => ending !== 'complete').length, 0, 'each got a clean end')
    t.strictSame(clients.filter(({ retry }) => retry === undefined).length, 0, 'every client received a retry delay')
    const different = new Set(clients.map(({ retry }) => retry)).size
    t.comment(`${different} different times to wait, over ${CLIENTS} clients`)
    t.ok(different > CLIENTS / 2, 'each its own')

    const due = clients.map(({ due }) => due!)
    const real = clients.map(({ returnedAt }) => returnedAt!)
    t.comment(`due moments: D = ${unevenness(due, WINDOW).toFixed(4)}, ${flow(due, 10).join(' ')}`)
    t.comment(`real moments: D = ${unevenness(real, WINDOW).toFixed(4)}, ${flow(real, 10).join(' ')}`)
    t.ok(unevenness(due, WINDOW) < MOST_UNEVEN, 'the retry delays are evenly distributed')
    const spread = Math.max(...due) - Math.min(...due)
    t.comment(`over ${spread.toFixed(0)} ms of ${WINDOW}`)
    t.ok(spread > WINDOW * 0.9, 'over the whole window')
    t.ok(clients.every(({ returnedAt, due }) => returnedAt! > due! - 2), 'no client reconnected early')

    t.strictSame(clients.flatMap(({ wrong }) => wrong ?? []).slice(0, 5), [], 'no event was lost or duplicated')
    t.comment(
      `${published} events to ${CLIENTS} clients, ${(await next.call('stats')).opened} streams on the next server`
    )
    t.equal(await old.leave(), 0, 'and nothing kept the old process alive')
  }
)
