import t from 'tap'
import { assertJsonForm, findWithoutJsonForm, lacksJsonForm } from '../../lib/schema/json-form.ts'

class Tags extends Set<string> { toJSON (): string[] { return [...this] } }

t.test('bytes and collections have no JSON form, except a collection with its own toJSON', async t => {
  const formless = [Buffer.from([1]), Buffer.alloc(0), new Uint8Array(2), new Float64Array(1), new ArrayBuffer(2),
    new SharedArrayBuffer(2), new DataView(new ArrayBuffer(2)), new Map([['a', 1]]), new Set(['a']), new WeakMap(),
    new WeakSet(), Promise.resolve(1)]
  for (const value of formless) {
    t.ok(lacksJsonForm(value))
    for (const whole of [value, { a: [1, { value }] }, [value]]) {
      t.equal(findWithoutJsonForm(whole, JSON.stringify(whole)), value)
    }
  }
  for (const value of [{}, [], null, 'a', 1, new Date(0), new Tags(['a']), { type: 'Buffer', data: [1] }, { 0: 1 }, {
    type: 'text'
  }, { 0: 1, a: {} }, { 10: 1 }, { a: '{b' }, { a: { b: 1 } }, /a/]) {
    t.notOk(lacksJsonForm(value))
    t.equal(findWithoutJsonForm([value], JSON.stringify([value])), undefined)
  }
})

t.test('text that has lost contents is rejected', async t => {
  t.doesNotThrow(() => assertJsonForm({}, '{}'))
  t.throws(() => assertJsonForm([new Map()], '[{}]'), { message: 'JSON has no form for an object (Map)' })
})
