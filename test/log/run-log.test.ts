import t from 'tap'
import type { EventLog } from '../../lib/log/log.ts'
import { memoryLog } from '../../lib/log/memory.ts'
import { asRunLog } from '../../lib/log/run-log.ts'

t.test('a log with the methods of runs is returned, another one throws', async t => {
  const log = memoryLog()('name', { maxEvents: 1, maxBytes: 1, maxAge: 1 })
  t.equal(asRunLog(log), log)
  for (const method of ['peek', 'lease']) {
    t.throws(() => asRunLog({ peek: () => {}, lease: () => true, [method]: 7 } as unknown as EventLog), {
      code: 'FST_SSE_LOG_METHOD',
      message: `The event log has no '${method}()', which runs need: use memoryLog() or redisLog(), or add the method`
    })
  }
})
