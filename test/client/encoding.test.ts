import { Type } from '@sinclair/typebox'
import { toStandardJsonSchema } from '@valibot/to-json-schema'
import t from 'tap'
import * as v from 'valibot'
import { z } from 'zod'
import { encodingOf, encodingsOf } from '../../lib/client/encoding.ts'
import { MAPS } from '../setup/map-kinds.ts'

t.test('W5: an event travels as text where its schema admits only strings, else as JSON', async t => {
  const forms = encodingsOf({
    note: Type.String(),
    done: Type.Literal('[DONE]'),
    level: Type.Union([Type.Literal('low'), Type.Literal('high')]),
    count: Type.Integer(),
    maybe: Type.Union([Type.String(), Type.Null()]),
    order: Type.Object({ id: Type.String() })
  })
  t.strictSame(Object.fromEntries(forms), {
    'sse.reset': 'json',
    'sse.gap': 'json',
    note: 'text',
    done: 'text',
    level: 'text',
    count: 'json',
    maybe: 'json',
    order: 'json'
  })
})

t.test('encodings may replace schemas', async t => {
  t.strictSame(Object.fromEntries(encodingsOf({ note: 'text', order: 'json' })), {
    'sse.reset': 'json',
    'sse.gap': 'json',
    note: 'text',
    order: 'json'
  })
})

t.test('system events have an encoding in every map, and inherited properties of objects have none', async t => {
  const forms = encodingsOf({})
  t.strictSame([...forms.keys()], ['sse.reset', 'sse.gap'])
  for (const name of ['toString', 'constructor', '__proto__']) t.equal(forms.get(name), undefined, name)
})

t.test('W5: the encoding does not depend on the kind of the schema', async t => {
  for (const [kind, { note, level, order }] of Object.entries(MAPS)) {
    t.strictSame([note, level, order].map(encodingOf), ['text', 'text', 'json'], kind)
  }
})

t.test('an action of Valibot without a form in JSON Schema does not change the encoding', async t => {
  const Name = v.pipe(v.string(), v.check(text => text !== ''), v.brand('Name'))
  t.equal(encodingOf(toStandardJsonSchema(Name)), 'text')
  t.equal(encodingOf(toStandardJsonSchema(v.pipe(v.object({ name: Name }), v.readonly()))), 'json')
})

t.test('a schema without a JSON Schema has no encoding', async t => {
  t.throws(() => encodingOf(v.string()))
  t.throws(() => encodingOf(z.date()), { message: /Date/ })
})
