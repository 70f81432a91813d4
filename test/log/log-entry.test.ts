import t from 'tap'
import { logEntry } from '../../lib/log/log-entry.ts'

t.test('an entry has a fingerprint only if there is one', async t => {
  const entry = { offset: 3, event: 'message', data: '1', json: true }
  t.strictSame(logEntry(3, 'message', '1', true, 'abc'), { ...entry, fingerprint: 'abc' })
  for (const none of [undefined, null]) t.strictSame(Object.keys(logEntry(3, 'message', '1', true, none)), Object.keys(entry))
})
