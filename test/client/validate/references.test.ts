import { Type } from '@sinclair/typebox'
import t from 'tap'
import { Type as Type1 } from 'typebox'
import { missingReferences } from '../../../lib/client/validate/references.ts'

t.test('the references without a target in the schema', async t => {
  const types = { Word: Type.String(), Pair: Type.Array(Type.Ref('Word')) }
  const cases: Array<[title: string, schema: object, missing: string[]]> = [
    ['none', Type.Object({ a: Type.String() }), []],
    ['a reference', Type.Ref('Word'), ['Word']],
    ['a reference twice', Type.Object({ a: Type.Ref('Word'), b: Type.Array(Type.Ref('Word')) }), ['Word']],
    ['a part of another schema', { allOf: [{ $ref: 'Words#/definitions/a' }] }, ['Words#/definitions/a']],
    ['a part of the same schema', { $ref: '#/definitions/a', definitions: { a: {} } }, []],
    ['a part of a named schema', { $ref: 'Words#/definitions/a', $defs: { W: { $id: 'Words' } } }, []],
    ['a recursive type', Type.Recursive(This => Type.Array(This)), []],
    ['a module', Type.Module(types).Import('Pair'), []],
    ['a member of a module', Type1.Module({ A: Type1.Object({ a: Type1.Optional(Type1.Ref('A')) }) }).A, []]
  ]
  for (const [title, schema, missing] of cases) t.strictSame(missingReferences(schema), missing, title)
})
