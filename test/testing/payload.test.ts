import { Readable } from 'node:stream'
import t from 'tap'
import { bodyOf } from '../../lib/testing/payload.ts'

t.test('what inject takes is what fetch gets', async t => {
  t.strictSame(bodyOf(undefined), {})
  t.strictSame(bodyOf('text'), { body: Buffer.from('text') }, 'bytes, which have no type')
  t.strictSame(bodyOf({ a: 1 }), { body: Buffer.from('{"a":1}'), type: 'application/json' })
  t.strictSame(bodyOf([1]), { body: Buffer.from('[1]'), type: 'application/json' })
  for (const payload of [Buffer.from('x'), new FormData(), Readable.from(['x'])]) t.equal(bodyOf(payload).body, payload, 'as it is')
})
