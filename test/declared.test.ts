import t from 'tap'
import { declare, declaredOf, type Declared } from '../lib/declared.ts'

const declared = (id: string): Declared => ({ shared: () => ({ [id]: {} }), errorEvent: undefined })

t.test('a route is known by itself, and a copy of it by its map', async t => {
  const map = {}
  const [one, other] = [{}, {}]
  const [first, second] = [declared('first'), declared('second')]
  declare(one, map, first)
  declare(other, map, second)
  t.equal(declaredOf(one, map), first)
  t.equal(declaredOf(other, map), second)
  t.equal(declaredOf({ ...one }, map), second, 'the later of two that share a map')
})

t.test('of a route that nobody has declared, nothing is known', async t => {
  const { shared, errorEvent } = declaredOf({}, {})
  t.strictSame(shared(), {})
  t.equal(errorEvent, undefined)
})
