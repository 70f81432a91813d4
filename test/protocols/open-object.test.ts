import t from 'tap'
import { openObject } from '../../lib/protocols/open-object.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'

t.test('an open object checks its properties and sends all others unchanged', t => {
  const compile = schemaCompiler({})
  const { write, explain } = compile(openObject({ id: { type: 'string' }, at: { type: 'integer' } }))
  t.equal(write({ extra: [{ a: null }], at: 1, id: 'x' }), '{"id":"x","at":1,"extra":[{"a":null}]}')
  for (const value of [{ id: 'x' }, { id: 1, at: 1 }, 'x', null, []]) t.equal(write(value), undefined)
  t.match(explain({ id: 1, at: 1 }), { path: '/id' })
  const optional = compile(openObject({ id: { type: 'string' } }, []))
  t.equal(optional.write({}), '{}')
  t.equal(optional.write({ id: 1 }), undefined)
  t.end()
})
