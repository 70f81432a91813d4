import Fastify from 'fastify'
import t from 'tap'
import sse from '../../lib/index.ts'
import { Sampler } from '../../lib/inspector/sampler.ts'
import { reports, truncate } from '../../lib/inspector/report.ts'
import { View } from '../../lib/inspector/view.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'

t.test('a text is truncated to 200 characters', async t => {
  t.equal(truncate('x'.repeat(200)), 'x'.repeat(200))
  t.equal(truncate('x'.repeat(201)), 'x'.repeat(200) + '…')
})

t.test('a report matches its schema, and the schema drops none of its properties', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  app.sse.channel('news')
  const { full } = new View('', new Sampler(app.sse, () => 0).sample())
  const text = schemaCompiler({})(reports.report).write(full)
  t.strictSame(JSON.parse(text!), full)
})
