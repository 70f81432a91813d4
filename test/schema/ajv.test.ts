import t from 'tap'
import { AjvChecker, checkByAjv, explainByAjv, isAjvSchema } from '../../lib/schema/ajv.ts'

t.test('a schema is compiled as a copy, which keeps its check', async t => {
  const ajv = new AjvChecker({}, {})
  const schema = { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] }
  const copy = ajv.add(schema)
  t.notOk(isAjvSchema(schema))
  t.ok(isAjvSchema(copy))
  t.ok(checkByAjv(copy, { a: 'x' }))
  t.notOk(checkByAjv(copy, { a: 1 }))
  t.notOk(checkByAjv({}, 1), 'a schema that Ajv does not know')
  t.strictSame(explainByAjv(copy, { a: 1 }), { path: '/a', message: 'must be string' })
  t.strictSame(explainByAjv(copy, {}), { path: '', message: "must have required property 'a'" })
  t.strictSame(explainByAjv(copy, undefined), { path: '', message: 'JSON has no form for undefined' })
})

t.test('C1: a JSON Schema refers to itself, to its definitions and to shared schemas', async t => {
  const ajv = new AjvChecker({ Shared: { $id: 'Shared', type: 'integer' } }, {})
  const { check, explain } = ajv.checker({
    type: 'object',
    properties: { self: { $ref: '#' }, word: { $ref: '#/definitions/word' }, number: { $ref: 'Shared#' } },
    definitions: { word: { type: 'string' } }
  })
  t.ok(check({ self: { self: {}, word: 'x', number: 1 } }))
  t.equal(explain({ self: {} }), undefined)
  t.strictSame(explain({ self: { self: { word: 1 } } }), { path: '/self/self/word', message: 'must be string' })
  t.strictSame(explain({ self: { number: 'x' } }), { path: '/self/number', message: 'must be integer' })
})

t.test('C3: a schema that Ajv cannot check is rejected with a way out', async t => {
  const ajv = new AjvChecker({}, {})
  const rows: Array<[schema: Record<string, unknown>, message: string]> = [
    [{ type: 'string', colour: 'red' },
      'strict mode: unknown keyword: "colour": remove it, or add it to Ajv\'s keywords in Fastify({ ajv })'],
    [{ type: 'string', format: 'no-such-format' },
      'unknown format "no-such-format" ignored in schema at path "#": remove it, or add it to Ajv\'s formats in Fastify({ ajv })'],
    [{ $schema: 'https://json-schema.org/draft/2020-12/schema', type: 'string' },
      'no schema with key or ref "https://json-schema.org/draft/2020-12/schema": remove \'$schema\', or use draft 7, as for requests'],
    [{ type: 'object', required: true }, 'schema is invalid: data/required must be array']
  ]
  for (const [schema, message] of rows) {
    for (let i = 0; i < 2; i++) t.throws(() => ajv.add(schema), { message })
  }
  t.throws(() => ajv.format('no-such-format'), { message: /^unknown format "no-such-format" .* Fastify\(\{ ajv \}\)$/ })
})

t.test('C3: two schemas with one $id are rejected, unless they are equal', async t => {
  const ajv = new AjvChecker({ Shared: { $id: 'Shared', type: 'integer' } }, {})
  const word = ajv.add({ $id: 'Word', type: 'string' })
  t.ok(checkByAjv(ajv.add({ $id: 'Word', type: 'string' }), 'x'))
  t.ok(checkByAjv(word, 'x'))
  for (const $id of ['Word', 'Shared']) {
    t.throws(() => ajv.add({ $id, type: 'boolean' }), {
      message: `the $id '${$id}' names another schema: give each schema an $id of its own`
    })
  }
})

t.test('an app has Ajv options if it has formats, keywords, plugins or onCreate', async t => {
  t.notOk(new AjvChecker({}, {}).hasOptions)
  t.notOk(new AjvChecker({}, { customOptions: {}, plugins: [] }).hasOptions)
  t.ok(new AjvChecker({}, { customOptions: { formats: { even: true } } }).hasOptions)
  t.ok(new AjvChecker({}, { plugins: [ajv => ajv] }).hasOptions)
  t.ok(new AjvChecker({}, { onCreate: () => {} }).hasOptions)
})
