import { createParser } from 'eventsource-parser'
import t from 'tap'
import { LIVE, REPLAY } from '../../lib/wire/protocol.ts'

t.test('R9: a mark is a line of a frame, which shows a comment and changes nothing of what is with it', async t => {
  const seen: unknown[] = []
  const parser = createParser({ onComment: comment => seen.push(comment), onEvent: ({ id, data }) => seen.push({ id, data }), onError: error => seen.push(error) })
  parser.feed(`${REPLAY}id: e-1\ndata: 1\n\n${LIVE}\n${LIVE}id: e-2\ndata: 2\n\n`)
  t.strictSame(seen, ['replay', { id: 'e-1', data: '1' }, 'live', 'live', { id: 'e-2', data: '2' }])
})
