import t from 'tap'
import { EVENT_STREAM } from '../../lib/wire/format.ts'

t.test('W2: the fields of an event: comment, name, id, retry, data', async t => {
  const text = { event: 'tick', data: '1', json: true }
  const line = 'event: tick\n'
  t.equal(EVENT_STREAM.event({ comment: 'c', id: 7, retry: 9 }, text, line),
    ': c\n\nevent: tick\nid: 7\nretry: 9\ndata: 1\n\n')
  t.equal(EVENT_STREAM.event({}, { ...text, event: 'message' }, ''), 'data: 1\n\n')
  t.equal(EVENT_STREAM.event({ retry: 9 }, text, line), 'event: tick\nretry: 9\ndata: 1\n\n')
})

t.test('W8: a position alone, a comment and a delay are control frames', async t => {
  t.equal(EVENT_STREAM.control({ id: 'e-1' }), 'event: sse.position\nid: e-1\ndata: \n\n')
  t.equal(EVENT_STREAM.control({ comment: 'c' }), ': c\n\n')
  t.equal(EVENT_STREAM.control({ retry: 5 }), 'retry: 5\n\n')
})
