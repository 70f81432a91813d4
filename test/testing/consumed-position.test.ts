import t from 'tap'
import { ConsumedPosition } from '../../lib/testing/consumed-position.ts'

const answer = (body: string): Response => new Response(body, { headers: { 'content-type': 'text/event-stream' } })

t.test('the position is after the last consumed event, not after the last received one', async t => {
  const text = 'id: 1\n\nid: 2\ndata: b\n\nevent: unknown\nid: 3\ndata: c\n\nid: 4\ndata: d\n\nid: 5\n\n'
  const handover = new ConsumedPosition('/', { fetch: async () => answer(text), reconnect: false, lastEventId: '0' },
    message => message.event === 'message' ? message : undefined, new AbortController().signal)
  t.equal(handover.lastEventId, '0')
  const seen: unknown[] = []
  for await (const items of handover) {
    t.equal(items.length, 1, 'one by one')
    seen.push([typeof items[0] === 'string' ? items[0] : items[0]?.data, handover.lastEventId])
  }
  t.strictSame(seen, [['connecting', '0'], ['live', '1'], ['b', '1'], ['d', '2']], 'before it is consumed')
  t.equal(handover.lastEventId, '5', 'at the end the position of the server')
})

t.test('a position event moves the position', async t => {
  const handover = new ConsumedPosition('/', { fetch: async () => answer('id: 1\ndata: a\n\n'), reconnect: false },
    () => undefined, new AbortController().signal)
  const seen: unknown[] = []
  for await (const items of handover) seen.push(...items)
  t.strictSame(seen, ['connecting', 'live'])
  t.equal(handover.lastEventId, '1')
})
