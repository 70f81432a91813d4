import { createHook } from 'node:async_hooks'
import Fastify from 'fastify'
import t from 'tap'
import sse, { type EventLogFactory, memoryLog } from '../../lib/index.ts'
import { liftLoopBudget } from '../setup/loop-budget.ts'

t.test('the runs of one name have one object of options', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  const options = {}
  const runs = app.sse.runs('job', options)
  t.equal(app.sse.runs('job', options), runs)
  t.equal(app.sse.runs('other'), app.sse.runs('other'))
  t.not(app.sse.runs('other'), runs)
  for (const others of [undefined, {}]) {
    t.throws(() => app.sse.runs('job', others), {
      code: 'FST_SSE_CHANNEL_OPTIONS',
      message: /^The channel 'job' exists with another 'options'/
    })
  }
})

t.test('runs that are made after the close keep no timer', async t => {
  const app = Fastify()
  await app.register(sse)
  await app.close()
  const resources: string[] = []
  const hook = createHook({ init: (_id, type) => { resources.push(type) } }).enable()
  const runs = app.sse.runs('late')
  hook.disable()
  t.notOk(resources.includes('Timeout'))
  await t.rejects(runs.get('1'), { code: 'FST_SSE_CLOSING' })
  await runs.close()
})

t.test('L7: the close of the server ends the live runs of all names', async t => {
  liftLoopBudget(t)
  const app = Fastify({ logger: false })
  const outcomes: Array<string | undefined> = []
  const eventLog: EventLogFactory = (name, history) => {
    const log = memoryLog()(name, history)
    const { end } = log
    return Object.assign(log, {
      end: (...[last, outcome]: Parameters<typeof end>) => {
        outcomes.push(outcome)
        return end.call(log, last, outcome)
      }
    })
  }
  await app.register(sse, { eventLog })
  const forever = async function * ({ signal }: { signal: AbortSignal }): AsyncGenerator<never> {
    await new Promise(resolve => signal.addEventListener('abort', resolve))
  }
  for (const name of ['a', 'b']) await app.sse.runs(name).start('1', forever)
  await app.sse.runs('c').start('1', [])
  await app.close()
  t.strictSame(outcomes.sort(), ['broken', 'broken', 'complete'])
})
