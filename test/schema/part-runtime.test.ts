import t from 'tap'
import {
  copyAsJson, Dictionary, mergeParts, NOTHING, ownProperty, setProperty, toJsonValue,
  wholeValue
} from '../../lib/schema/part-runtime.ts'

t.test('a dictionary has no inherited property and accepts any name', async t => {
  const dictionary = new Dictionary()
  for (const name of ['constructor', 'toString', '__proto__']) {
    t.notOk(name in dictionary, name)
    dictionary[name] = 1
  }
  t.strictSame(Object.keys(dictionary), ['constructor', 'toString', '__proto__'])
})

t.test('setProperty() accepts any name', async t => {
  const object = {}
  for (const name of ['a', '__proto__']) setProperty(object, name, 1)
  t.strictSame(Object.keys(object), ['a', '__proto__'])
  t.equal(Object.getPrototypeOf(object), Object.prototype)
})

t.test('ownProperty() reads only own properties', async t => {
  t.equal(ownProperty({ a: 1 }, 'a'), 1)
  t.equal(ownProperty({}, 'constructor'), undefined)
})

t.test('mergeParts() merges two parts of a value', async t => {
  t.equal(mergeParts(NOTHING, 1), 1)
  t.equal(mergeParts(undefined, 1), 1)
  t.equal(mergeParts(1, 2), 1)
  t.equal(JSON.stringify(mergeParts({ a: 1, b: { c: 1 } }, { b: { d: 1 }, e: 1 })), '{"a":1,"b":{"c":1,"d":1},"e":1}')
  t.equal(JSON.stringify(mergeParts([{ a: 1 }], [{ b: 1 }, 2])), '[{"a":1,"b":1},2]')
})

t.test('a value is copied in its JSON form', async t => {
  const date = new Date(0)
  t.equal(toJsonValue(date), '1970-01-01T00:00:00.000Z')
  t.equal(wholeValue(date), '1970-01-01T00:00:00.000Z')
  t.strictSame(copyAsJson({ at: date, none: undefined }), { at: '1970-01-01T00:00:00.000Z' })
  const object = { a: 1 }
  t.equal(wholeValue(object), object)
  t.throws(() => copyAsJson([new Map()]), { message: 'JSON has no form for an object (Map)' })
})
