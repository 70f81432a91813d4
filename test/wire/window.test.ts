import fc from 'fast-check'
import t from 'tap'
import { Window } from '../../lib/wire/window.ts'

t.test('a window has the last bytes before the last append, for any sizes', async t => {
  const step = fc.record({ length: fc.oneof(fc.nat(20), fc.nat(300)), keep: fc.constantFrom(8, 32, 100) })
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), steps => {
    const window = new Window()
    let text = Buffer.alloc(0)
    let next = 0
    let largest = 0
    for (const { length, keep } of steps) {
      const bytes = Buffer.from(Array.from({ length }, () => next++ % 251))
      window.append(bytes, keep)
      for (const size of [0, 1, keep, 400]) {
        const before = window.before(size)
        t.ok(before.length === Math.min(size, window.length), 'as many as there are')
        t.ok(before.equals(text.subarray(text.length - before.length)), 'one text without a gap')
      }
      text = Buffer.concat([text, bytes])
      largest = Math.max(largest, keep)
      t.ok(window.capacity <= 2 * largest)
    }
  }))
})

t.test('a window keeps as many bytes as it should', async t => {
  const window = new Window()
  t.strictSame([window.length, window.capacity, window.before(5).length], [0, 0, 0])
  for (let n = 1; n <= 100; n++) {
    window.append(Buffer.alloc(7, n), 50)
    t.ok(window.length >= Math.min(50, 7 * (n - 1)))
  }
  window.append(Buffer.alloc(1_000, 1), 50)
  window.append(Buffer.alloc(1, 2), 50)
  t.equal(window.length, 50, 'of a long text, its end')
  t.equal(window.capacity, 100)
})
