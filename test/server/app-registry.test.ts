import Fastify from 'fastify'
import t from 'tap'
import sse from '../../lib/index.ts'
import { registriesOf } from '../../lib/server/app-registry.ts'

t.test('an app has the registries of all its registrations, and of no other app', async t => {
  const [app, other] = [Fastify(), Fastify()]
  t.teardown(() => Promise.all([app.close(), other.close()]))
  t.equal(registriesOf(app).size, 0)
  for (const prefix of ['/a', '/b']) {
    app.register(async scope => {
      await scope.register(sse)
      t.equal(registriesOf(scope), registriesOf(app), 'the same within')
    }, { prefix })
  }
  await app.register(sse).ready()
  t.equal(registriesOf(app).size, 3)
  t.equal(registriesOf(other).size, 0)
})
