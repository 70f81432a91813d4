import t from 'tap'
import { serializeWith, serialize } from '../../lib/schema/serialize.ts'

t.test('serialize() returns JSON, or throws an error with the event, the place and the reason', async t => {
  t.equal(serialize('e', { a: [1] }), '{"a":[1]}')
  t.throws(() => serialize('e', () => 1), {
    code: 'FST_SSE_SERIALIZE',
    message: "Event 'e' cannot be serialized at '/': JSON has no form for a function"
  })
  t.throws(() => serialize('e', { 'a/b': [new Map()] }), {
    code: 'FST_SSE_SERIALIZE',
    message: "Event 'e' cannot be serialized at '/a~1b/0': JSON has no form for an object (Map)"
  })
})

t.test('a thrown value becomes the cause, an Error or not', async t => {
  const cause = new Error('mine')
  t.throws(() =>
    serializeWith(() => {
      throw cause
    }, 'e', { a: 1n }), { code: 'FST_SSE_SERIALIZE', message: "Event 'e' cannot be serialized at '/a': mine", cause })

  t.throws(() =>
    serializeWith(() => {
      // eslint-disable-next-line no-throw-literal
      throw 'mine'
    }, 'e', 1), { message: "Event 'e' cannot be serialized at '/': mine", cause: 'mine' })
  t.equal(serializeWith(data => data, 'e', 1), 1)
})
