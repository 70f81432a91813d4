import { runInNewContext } from 'node:vm'
import t from 'tap'
import { assertFields, isPlain } from '../lib/foreign.ts'

class Chunk { id = 7 }

t.test('a plain object is one of a literal, of any realm, or without a prototype', async t => {
  for (const plain of [{}, JSON.parse('{"id":7}') as object, Object.create(null) as object, runInNewContext('({})') as object]) t.ok(isPlain(plain))
  for (const other of [new Chunk(), new Map(), [], new Error('late'), Object.create({}) as object, runInNewContext('new (class {})()') as object]) t.notOk(isPlain(other))
})

t.test('W9: an object with other keys, and an instance of a class without data, are foreign chunks', async t => {
  for (const event of [{}, { id: 7 }, { comment: 'c' }, { id: 7, more: undefined }, Object.assign(new Chunk(), { data: 1 })]) t.doesNotThrow(() => assertFields(event))
  const expected = 'Not an event: expected { data, event?, id?, retry? }, { comment }, { id } or { retry }, got '
  const hint = ': send it as { data: … }, or make events of a whole source with asData(source)'
  t.throws(() => assertFields({ id: 7, more: 1 }), { code: 'FST_SSE_EVENT', message: `${expected}an object (Object) with the key "more"${hint}` })
  t.throws(() => assertFields(new Chunk()), { code: 'FST_SSE_EVENT', message: `${expected}an object (Chunk) without data${hint}` })
})
