import t from 'tap'
import { rememberRoute, routeDeclaration, type RouteDeclaration } from '../../lib/server/route-declarations.ts'

const declared = (id: string): RouteDeclaration => ({ shared: () => ({ [id]: {} }), errorEvent: undefined })

t.test('a route is known by itself, and a copy of it by its map', async t => {
  const map = {}
  const [one, other] = [{}, {}]
  const [first, second] = [declared('first'), declared('second')]
  rememberRoute(one, map, first)
  rememberRoute(other, map, second)
  t.equal(routeDeclaration(one, map), first)
  t.equal(routeDeclaration(other, map), second)
  t.equal(routeDeclaration({ ...one }, map), second, 'the later of two that share a map')
})

t.test('of a route that nobody has declared, nothing is known', async t => {
  const { shared, errorEvent } = routeDeclaration({}, {})
  t.strictSame(shared(), {})
  t.equal(errorEvent, undefined)
})

t.test('what is no map at all is for others to refuse', async t => {
  const route = {}
  const by = declared('any')
  for (const map of [null, 'map', 5, []]) rememberRoute(route, map, by)
  t.equal(routeDeclaration(route, {}), by)
})
