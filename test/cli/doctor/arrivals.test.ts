import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { Arrivals } from '../../../lib/cli/doctor/arrivals.ts'

const text = (text: string): Buffer => Buffer.from(text)

t.test('events, comments and positions have the time of their last byte', async t => {
  const arrivals = new Arrivals()
  arrivals.feed(text('retry: 7\n: live\n\nid: 1\nda'), 10)
  await turn()
  arrivals.feed(text('ta: one\n\n: hello\n\nid: 2\n\n'), 20)
  t.strictSame(arrivals.events, [{ at: 20, event: 'message', id: '1', data: 'one' }])
  t.strictSame([arrivals.comments, arrivals.marks, arrivals.lastEventId, arrivals.reconnectionTime], [[10, 20], [
    'live'
  ], '2', 7])
})

t.test('chunks of one turn of the event loop are one piece', async t => {
  const arrivals = new Arrivals()
  arrivals.feed(text('data: 1\n\n'), 10)
  arrivals.feed(text('data: 2\n\n'), 10)
  arrivals.feed(text(''), 10)
  await turn()
  arrivals.feed(text('data: 3\n\n'), 30)
  t.strictSame(arrivals.pieces, [{ at: 10, bytes: 18, events: 2, whole: true }, {
    at: 30,
    bytes: 9,
    events: 1,
    whole: true
  }])
  t.strictSame(arrivals.silences, [10, 20])
})

t.test('a piece is whole if it ends with an event or a comment, wherever earlier pieces were split', async t => {
  for (const [pieces, whole] of [
    [['data: 1\n\n'], [true]],
    [['data: 1\r\n\r\n'], [true]],
    [['data: 1\n', '\n'], [false, true]],
    [['data: 1', '\n\n'], [false, true]],
    [['data: 1\n\nda', 'ta: 2\n\n'], [false, true]],
    [[': ping\n'], [true]],
    [[': pi', 'ng\n'], [false, true]],
    [['data: 1\n: ping\n\ndata'], [false]]
  ] as const) {
    const arrivals = new Arrivals()
    for (const piece of pieces) {
      arrivals.feed(text(piece), 0)
      await turn()
    }
    t.strictSame(arrivals.pieces.map(({ whole }) => whole), whole, JSON.stringify(pieces))
  }
})

t.test('long events and endless streams are recorded in part', async t => {
  const arrivals = new Arrivals()
  arrivals.feed(text(`data: ${'x'.repeat(1_000)}\n\n`), 0)
  t.equal(arrivals.events[0]!.data, 'x'.repeat(200))
  t.notOk(arrivals.full)
  arrivals.feed(text('data\n\n'.repeat(20_000)), 0)
  t.ok(arrivals.full)
})

t.test('an event without an end does not fill memory', async t => {
  t.throws(() => new Arrivals().feed(Buffer.alloc(2 ** 24 + 1, 'x'), 0), { code: 'FST_SSE_EVENT_SIZE' })
})
