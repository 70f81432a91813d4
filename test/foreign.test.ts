import { runInNewContext } from 'node:vm'
import t from 'tap'
import { assertFields, isPlain } from '../lib/foreign.ts'

class Chunk { id = 7 }

t.test('a plain object is one of a literal, of any realm, or without a prototype', async t => {
  const plain = [{}, JSON.parse('{"id":7}'), Object.create(null), runInNewContext('({})')] as object[]
  for (const object of plain) t.ok(isPlain(object))
  const others = [new Chunk(), new Map(), [], new Error('late'), Object.create({}), runInNewContext('new (class {})()')]
  for (const object of others as object[]) t.notOk(isPlain(object))
})

t.test('W9: an object with other keys, and an instance of a class without data, are foreign chunks', async t => {
  const events = [{}, { id: 7 }, { comment: 'c' }, { id: 7, more: undefined }, Object.assign(new Chunk(), { data: 1 })]
  for (const event of events) t.doesNotThrow(() => assertFields(event))
  const expected = 'Not an event: expected { data, event?, id?, retry? }, { comment }, { id } or { retry }, got '
  const hint = ': send it as { data: … }, or make events of a whole source with asData(source)'
  const refusal = (what: string) => ({ code: 'FST_SSE_EVENT', message: `${expected}${what}${hint}` })
  t.throws(() => assertFields({ id: 7, more: 1 }), refusal('an object (Object) with the key "more"'))
  t.throws(() => assertFields(new Chunk()), refusal('an object (Chunk) without data'))
})
