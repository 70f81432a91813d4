import { createParser } from 'eventsource-parser'
import t from 'tap'
import { LIVE_LINE, REPLAY_LINE } from '../../lib/wire/encode.ts'
import { END_ID, GAP_EVENT, POSITION_EVENT, RESERVED, RESET_EVENT } from '../../lib/wire/protocol.ts'

t.test('R9: a replay or live line is a comment and changes nothing of the frame that holds it', async t => {
  const seen: unknown[] = []
  const parser = createParser({
    onComment: comment => seen.push(comment),
    onEvent: ({ id, data }) => seen.push({ id, data }),
    onError: error => seen.push(error)
  })
  parser.feed(`${REPLAY_LINE}id: e-1\ndata: 1\n\n${LIVE_LINE}\n${LIVE_LINE}id: e-2\ndata: 2\n\n`)
  t.strictSame(seen, ['replay', { id: 'e-1', data: '1' }, 'live', 'live', { id: 'e-2', data: '2' }])
})

t.test('all reserved names have the reserved prefix', async t => {
  for (const name of [POSITION_EVENT, RESET_EVENT, GAP_EVENT, END_ID]) t.ok(name.startsWith(RESERVED), name)
})
