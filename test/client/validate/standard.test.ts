import { Type as Type034 } from '@sinclair/typebox'
import { type } from 'arktype'
import t from 'tap'
import { Type } from 'typebox'
import * as v from 'valibot'
import { z } from 'zod'
import { encodingOf } from '../../../lib/client/encoding.ts'
import { validate, withJsonSchema } from '../../../lib/client/validate/standard.ts'

const SCHEMAS: Record<string, object> = {
  Zod: z.object({ id: z.int(), 'a/b~': z.array(z.object({ n: z.number() })) }),
  Valibot: v.object({ id: v.pipe(v.number(), v.integer()), 'a/b~': v.array(v.object({ n: v.number() })) }),
  ArkType: type({ id: 'number.integer', 'a/b~': type({ n: 'number' }).array() })
}

t.test('C1: each library checks its own schemas, and the fault has the message and the path', async t => {
  for (const [kind, schema] of Object.entries(SCHEMAS)) {
    t.equal(validate(schema, { id: 1, 'a/b~': [] }), undefined, kind)
    t.equal(validate(schema, { id: 1, 'a/b~': [{ n: 1 }], more: true }), undefined, `${kind}: an undeclared property`)
    t.match(validate(schema, { id: 'x', 'a/b~': [] }), /(?=.*number)(?=.* at '\/id'$)/, kind)
    t.match(validate(schema, { id: 1, 'a/b~': [{ n: 1 }, { n: '' }] }), / at '\/a~1b~0\/1\/n'$/, kind)
    t.match(validate(schema, 5), / at '\/'$/, kind)
  }
  t.equal(validate(z.string(), 5), "Invalid input: expected string, received number at '/'")
})

t.test('C1: schemas of other kinds are left to the server', async t => {
  for (const schema of [Type.String(), Type034.String(), { type: 'string' }]) t.equal(validate(schema, 5), undefined)
})

t.test('an asynchronous check is a mistake of the program', async t => {
  const rejected = v.pipeAsync(v.string(), v.checkAsync(async () => await Promise.reject(new Error('no network'))))
  t.throws(() => validate(rejected, 'a'), { name: 'TypeError', message: 'a schema of valibot checks asynchronously' })
})

t.test('a JSON Schema may be added: the library checks, and the client knows the encoding', async t => {
  const schema = withJsonSchema(v.pipe(v.string(), v.startsWith('a')), { type: 'string' })
  t.equal(encodingOf(schema), 'text')
  t.equal(validate(schema, 'abc'), undefined)
  t.match(validate(schema, 'b'), / at '\/'$/)
})
