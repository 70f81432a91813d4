import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import t from 'tap'
import progress from '../../example/progress/server.ts'

const frame = (n: number): string =>
  `event: progress\nid: ${n}\ndata: {"percent":${n * 4},"file":"orders-${String(n).padStart(2, '0')}.csv"}\n\n`
const DONE = 'event: done\ndata: {"files":25}\n\n'
const from = (first: number): string => Array.from({ length: 26 - first }, (_, i) => frame(first + i)).join('') + DONE

const rows = [
  { title: 'a job is a progress event for each file, then done', lastEventId: undefined, wire: from(1) },
  { title: 'a client that comes back goes on after the last file it saw', lastEventId: '20', wire: from(21) },
  { title: 'a client that saw all but done gets done', lastEventId: '25', wire: DONE },
  ...['26', '-1', '1.5', 'x', 'sse.end'].map(lastEventId => ({
    title: `a position that is none of ours begins anew: ${lastEventId}`,
    lastEventId,
    wire: from(1)
  }))
]

t.test('the wire of a job', { jobs: rows.length }, async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  await app.register(progress)
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  for (const { title, lastEventId, wire } of rows) {
    t.test(title, async t => {
      const response = await fetch(`${url}/progress/events`, {
        headers: lastEventId === undefined ? {} : { 'last-event-id': lastEventId }
      })
      // The opening comment: the first file takes longer than `flushHeadersAfter`.
      t.equal((await response.text()).replace(/^:.*\n\n/gm, ''), wire)
    })
  }
})
