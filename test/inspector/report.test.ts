import { Value } from '@sinclair/typebox/value'
import Fastify from 'fastify'
import t from 'tap'
import sse from '../../lib/index.ts'
import { Sampler } from '../../lib/inspector/sampler.ts'
import { cut, reports } from '../../lib/inspector/report.ts'
import { View } from '../../lib/inspector/view.ts'

t.test('a text that a client chose is told up to 200 characters', async t => {
  t.equal(cut('x'.repeat(200)), 'x'.repeat(200))
  t.equal(cut('x'.repeat(201)), 'x'.repeat(200) + '…')
})

t.test('what is told of a server fits the map that it is sent by, and nothing of it is left out', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  app.sse.channel('news')
  const { whole } = new View('', new Sampler(app.sse, () => 0).sample())
  t.ok(Value.Check(reports.report, whole))
  t.strictSame(Value.Clean(reports.report, structuredClone(whole)), whole)
})
