import nodeTest from 'node:test'
import t from 'tap'
import { memoryLog } from '../lib/index.ts'
import * as testing from '../lib/testing.ts'

t.test('fastify-typed-sse/testing exports what the README names, and nothing else', async t => {
  t.same(Object.keys(testing).sort(), ['checkEventLog'])
})

t.test('its checkEventLog takes the testers of tap and of node:test, and opens the log that it is given', async t => {
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

t.test('the package exports it under its subpath', async t => {
  const built = await import('fastify-typed-sse/testing')
  t.equal(typeof built.checkEventLog, 'function')
})
