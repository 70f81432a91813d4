import t from 'tap'
import type { EventLog } from '../../lib/log/log.ts'
import { memoryLog } from '../../lib/log/memory.ts'
import { asMemberLog, asRunLog } from '../../lib/log/required-methods.ts'

const log = memoryLog()('name', { maxEvents: 1, maxBytes: 1, maxAge: 1 })

for (const { as, methods, feature } of [
  { as: asRunLog, methods: ['peek', 'lease'], feature: 'runs need' },
  { as: asMemberLog, methods: ['hold', 'members'], feature: 'presence needs' }
]) {
  t.test(`a log with the methods that ${feature} is returned, another one throws`, async t => {
    t.equal(as(log), log)
    const complete = Object.fromEntries(methods.map(method => [method, () => true]))
    for (const method of methods) {
      t.throws(() => as({ ...complete, [method]: 7 } as unknown as EventLog), {
        code: 'FST_SSE_LOG_METHOD',
        message: `The event log has no '${method}()', which ${feature}: use another log, such as postgresLog(), or add the method`
      })
    }
  })
}
