import t from 'tap'
import * as inspector from '../lib/inspector.ts'

t.test('fastify-typed-sse/inspector exports what the README names, and nothing else', async t => {
  t.same(Object.keys(inspector), ['default'])
  t.same(Object.keys(await import('fastify-typed-sse/inspector')), ['default'], 'under its subpath, too')
})
