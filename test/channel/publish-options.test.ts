import t from 'tap'
import { appendWith, resolvePublish } from '../../lib/channel/publish-options.ts'
import type { EventLog, LogRecord } from '../../lib/log/log.ts'
import { memoryLog } from '../../lib/log/memory.ts'
import { HISTORY, numbered } from '../setup/remote-log.ts'

const open = (): EventLog => memoryLog()('news', HISTORY)

t.test('bad options name the option, the expectation and the value', async t => {
  const rows: Array<[options: unknown, message: RegExp]> = [
    [null, /^Option 'options' must be an object, got null$/],
    ['key', /^Option 'options' must be an object/],
    [{ kay: 'x' }, /^Option 'kay' must be one of key, client, got an unknown option$/],
    [{ key: '' }, /^Option 'key' must be a string of 1 to 256 characters without control characters, got "" \(string\)$/],
    [{ key: 7 }, /^Option 'key' must be .* got 7 \(number\)$/],
    [{ key: null }, /^Option 'key' must be .* got null$/],
    [{ key: 'a\nb' }, /^Option 'key' must be/],
    [{ key: 'a\u0000' }, /^Option 'key' must be/],
    [{ key: '\ud83d' }, /^Option 'key' must be/],
    [{ key: 'x'.repeat(257) }, /^Option 'key' must be/],
    [{ client: 'transaction' }, /^Option 'client' must be a connection with an open transaction, got/],
    [{ client: null }, /^Option 'client' must be/]
  ]
  for (const [options, message] of rows) t.throws(() => resolvePublish(options), { code: 'FST_SSE_OPTION', message })
})

t.test('good options are kept', async t => {
  const client = {}
  t.strictSame(resolvePublish({}), { key: undefined, client: undefined })
  t.strictSame(resolvePublish({ key: '😀'.repeat(256) }), { key: '😀'.repeat(256), client: undefined })
  const both = resolvePublish({ key: 'a', client })
  t.equal(both.client, client)
  t.equal(both.key, 'a')
})

t.test('without options the record is appended', async t => {
  t.match(await appendWith(open(), numbered(1), resolvePublish({})), { offset: 1, appended: true })
})

t.test('R13: a key appends once', async t => {
  const log = open()
  t.match(await appendWith(log, numbered(1), resolvePublish({ key: 'a' })), { offset: 1, appended: true })
  t.match(await appendWith(log, numbered(2), resolvePublish({ key: 'a' })), { offset: 1, appended: false })
  t.match(await appendWith(log, numbered(3), resolvePublish({ key: 'b' })), { offset: 2, appended: true })
})

t.test('a client is passed to the log with the key, and there is no position', async t => {
  const calls: unknown[] = []
  const log: EventLog = Object.assign(open(), {
    appendIn: async (client: unknown, record: LogRecord, key?: string) => { calls.push([client, record, key]) }
  })
  const client = { query: () => {} }
  t.equal(await appendWith(log, numbered(1), resolvePublish({ client })), undefined)
  t.equal(await appendWith(log, numbered(2), resolvePublish({ client, key: 'a' })), undefined)
  t.strictSame(calls, [[client, numbered(1), undefined], [client, numbered(2), 'a']])
})

t.test('a log that lacks the method rejects', async t => {
  const log = Object.assign(open(), { appendOnce: undefined }) as unknown as EventLog
  await t.rejects(appendWith(log, numbered(1), resolvePublish({ key: 'a' })), {
    code: 'FST_SSE_LOG_METHOD',
    message: /^The event log has no 'appendOnce\(\)', which publish\(\) with a key needs: use another log/
  })
  await t.rejects(appendWith(log, numbered(1), resolvePublish({ key: 'a', client: {} })), {
    code: 'FST_SSE_LOG_METHOD',
    message: /^The event log has no 'appendIn\(\)', which publish\(\) with a client needs: use another log/
  })
  t.equal((await log.state()).newest, 0)
})
