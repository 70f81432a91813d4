import t from 'tap'
import { rememberRoute, routeDeclaration, type RouteDeclaration } from '../../lib/server/route-declarations.ts'

const declared = (id: string): RouteDeclaration =>
  ({ shared: () => ({ [id]: {} }), errorEvent: undefined, systemEvent: undefined, formats: ['event-stream'] as const })

t.test('a declaration is found by its route, and for a copy of the route by its map', async t => {
  const map = {}
  const [one, other] = [{}, {}]
  const [first, second] = [declared('first'), declared('second')]
  rememberRoute(one, map, first)
  rememberRoute(other, map, second)
  t.equal(routeDeclaration(one, map), first)
  t.equal(routeDeclaration(other, map), second)
  t.equal(routeDeclaration({ ...one }, map), second, 'the later of two that share a map')
})

t.test('a route without a declaration has an empty one', async t => {
  const { shared, errorEvent } = routeDeclaration({}, {})
  t.strictSame(shared(), {})
  t.equal(errorEvent, undefined)
})

t.test('a value that is no map is accepted: the compiler rejects it', async t => {
  const route = {}
  const by = declared('any')
  for (const map of [null, 'map', 5, []]) rememberRoute(route, map, by)
  t.equal(routeDeclaration(route, {}), by)
})
