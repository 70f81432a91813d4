import { spawnSync } from 'node:child_process'
import t from 'tap'
import { checkEventLog } from '../../lib/log/check-event-log.ts'
import type { EventLog, EventLogFactory } from '../../lib/log/log.ts'
import { memoryLog } from '../../lib/log/memory.ts'

/** Runs the contract's tests on a log. Returns the titles of all tests and of the failed ones. */
async function run (open: EventLogFactory, shared?: boolean): Promise<{ titles: string[], failed: string[] }> {
  const result = { titles: [] as string[], failed: [] as string[] }
  await checkEventLog({
    test: async (title, body) => {
      result.titles.push(title)
      await body().catch(() => { result.failed.push(title) })
    }
  }, () => open, { shared })
  return result
}

t.test('each promise has its own title, and a shared log has additional promises', async t => {
  const { titles, failed } = await run(memoryLog())
  t.strictSame(failed, [])
  t.equal(new Set(titles).size, titles.length)
  const names = new Map<string, EventLog>()
  const several = await run((name, history) => {
    const log = names.get(name) ?? memoryLog()(name, history)
    names.set(name, log)
    return log
  }, true)
  t.ok(several.titles.some(title => !titles.includes(title)))
})

t.test('each test and each run uses new names', async t => {
  const names: string[] = []
  const open: EventLogFactory = (name, history) => {
    names.push(name)
    return memoryLog()(name, history)
  }
  const { titles } = await run(open)
  await run(open)
  t.ok(names.length > titles.length * 2)
  t.equal(new Set(names).size, names.length)
})

t.test('every opened log is closed, also by failing tests', async t => {
  let opened = 0
  const open = new Set<EventLog>()
  const { failed } = await run((name, history) => {
    const log = memoryLog()(name, history)
    opened++
    open.add(log)
    return Object.assign(log, { append: () => { throw new Error('full') }, close: () => { open.delete(log) } })
  })
  t.ok(failed.length > 5)
  t.ok(opened > failed.length)
  t.equal(open.size, 0)
})

t.test('the tests also run with node:test', async t => {
  const program = `
    import test from 'node:test'
    import { memoryLog } from 'fastify-typed-sse'
    import { checkEventLog } from 'fastify-typed-sse/testing'
    test('my log', t => checkEventLog(t, memoryLog))
  `
  const { NODE_OPTIONS: _options, NODE_V8_COVERAGE: _coverage, ...env } = process.env
  const { stdout, status } = spawnSync(process.execPath, ['--test-reporter=tap', '--input-type=module', '--eval',
    program], { encoding: 'utf8', env })
  t.equal(status, 0)
  t.match(stdout, /^# fail 0$/m)
})
