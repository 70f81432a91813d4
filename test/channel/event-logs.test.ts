import t from 'tap'
import { EventLogs } from '../../lib/channel/event-logs.ts'
import type { EventLogFactory } from '../../lib/log/log.ts'
import { memoryLog } from '../../lib/log/memory.ts'
import { within } from '../setup/within.ts'

const never = (): Promise<never> => new Promise(() => {})
const logOf = (methods: Partial<Pick<EventLogFactory, 'locate' | 'close'>>): EventLogFactory =>
  Object.assign(memoryLog(), methods)

/** Returns the event logs, and the lines of their logger. */
function make (...logs: EventLogFactory[]) {
  const lines: unknown[] = []
  const eventLogs = new EventLogs(logs[0]!, { error: (...line: unknown[]) => { lines.push(line) }, warn: () => {} })
  for (const log of logs) eventLogs.add(log)
  return { eventLogs, lines }
}

t.test('a log that has found an epoch does not wait for a log that does not answer', async t => {
  const found = logOf({ locate: async epoch => epoch === 'a' ? 'news' : undefined })
  const { eventLogs } = make(logOf({ locate: never }), found)
  t.strictSame(await within('the name', eventLogs.locate(['a', 'a'])), ['news', 'news'])
})

t.test('the failure of a log rejects only if no other log has found the epoch', async t => {
  const failing = logOf({ locate: () => { throw new Error('away') } })
  const { eventLogs } = make(failing, logOf({ locate: epoch => epoch === 'a' ? 'news' : undefined }), logOf({}))
  t.strictSame(await eventLogs.locate(['a']), ['news'])
  t.strictSame(await eventLogs.locate([]), [])
  await t.rejects(eventLogs.locate(['a', 'b']), { message: 'away' })
  t.strictSame(await make(logOf({})).eventLogs.locate(['b']), [undefined])
})

t.test('each log needs locate(), which may be a method of an object', async t => {
  const factory = Object.assign(memoryLog(), { title: 'news', locate (this: { title: string }) { return this.title } })
  t.strictSame(await make(factory).eventLogs.locate(['a']), ['news'])
  await t.rejects(make(logOf({}), logOf({ locate: undefined })).eventLogs.locate([]), { code: 'FST_SSE_LOG_METHOD' })
})

t.test('a log that is not released in time holds up neither the others nor the close', async t => {
  const real = setTimeout
  t.intercept(globalThis, 'setTimeout', {
    value: (fn: () => void, time: number) => real(fn, time === 5_000 ? 10 : time)
  })
  const released: string[] = []
  const failure = new Error('release')
  const { eventLogs, lines } = make(
    logOf({ close: never }),
    logOf({ close: () => { throw failure } }),
    logOf({ close: () => { released.push('last') } }),
    memoryLog()
  )
  await eventLogs.close()
  t.strictSame(released, ['last'])
  t.match(lines, [
    [{ err: failure }, 'sse log failed'],
    [{ err: { code: 'FST_SSE_REAUTHORIZE_TIMEOUT', message: /^The promise of close\(\) of an event log did not/ } }]
  ])
})
