import { execFile } from 'node:child_process'
import nodeTest from 'node:test'
import { promisify } from 'node:util'
import t from 'tap'
import { memoryLog } from '../lib/index.ts'
import * as testing from '../lib/testing.ts'

t.test('fastify-typed-sse/testing exports what the README names, and nothing else', async t => {
  t.same(Object.keys(testing).sort(), ['checkEventLog', 'injectFetch', 'injectStream', 'openStreams'])
})

t.test('checkEventLog accepts the testers of tap and of node:test, and opens the log under test', async t => {
  const testers: testing.Tester[] = [t, { test: nodeTest }]
  t.equal(testers.length, 2, 'both compile')
  const names: string[] = []
  await testing.checkEventLog({
    test: async (_name, body) => body()
  }, async () => (name, history) => {
    names.push(name)
    return memoryLog()(name, history)
  })
  t.ok(names.length > 10)
  t.equal(new Set(names).size, names.length, 'each by a name of its own')
})

t.test('the package exports the test tools under its subpath', async t => {
  const built = await import('fastify-typed-sse/testing')
  t.same(Object.keys(built).sort(), Object.keys(testing).sort())
})

t.test('a suite of node:test passes, also under its own clocks, and its process ends by itself', async t => {
  const { stdout } = await promisify(execFile)(process.execPath, [...process.execArgv, '--test-reporter=tap',
    'test/testing/suites/node-test.ts'], { timeout: 60_000 })
  t.match(stdout, /^# fail 0$/m)
  t.match(stdout, /^# pass 27$/m)
})
