import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { project, keyOf, withPosition } from '../../lib/channel/projection.ts'
import { ALL } from '../setup/test-subscriber.ts'

const event = Object.freeze({ event: 'message', data: 1, id: 'e-1' })

t.test('without filter and map the event is returned unchanged', async t => {
  t.equal(project(event, ALL), event)
})

t.test('a filter returns true or false, and a map is not called for a dropped event', async t => {
  const map = () => t.fail('the map was called')
  t.equal(project(event, { ...ALL, filter: () => true }), event)
  t.equal(project(event, { ...ALL, filter: () => false }), undefined)
  t.equal(project(event, { ...ALL, filter: () => false, map }), undefined)
})

t.test('both receive the event itself', async t => {
  const seen: unknown[] = []
  project(event, { ...ALL, filter: received => seen.push(received) > 0, map: received => seen.push(received) })
  t.ok(seen.length === 2 && seen.every(received => received === event))
})

t.test('a map replaces the event; undefined or null drops it', async t => {
  const other = { data: 2 }
  for (const mapped of [other, undefined, null, 0, '', false]) {
    t.equal(project(event, { ...ALL, map: () => mapped }), mapped)
  }
})

t.test('R5: a filter that returns anything but true or false is rejected', async t => {
  const answers: Array<[unknown, string]> = [[undefined, 'undefined'], [null, 'null'], [1, '1 (number)'], ['',
    '"" (string)'], [{}, 'an object (Object)'], [Promise.resolve(false), 'a promise']]
  for (const [answer, description] of answers) {
    t.throws(() => project(event, { ...ALL, filter: () => answer }), {
      code: 'FST_SSE_OPTION',
      message: `Option 'filter' must be a function that returns true or false, got one that returns ${description}`
    })
  }
})

t.test('R5: a map that returns a promise, of any realm, is rejected', async t => {
  const error = {
    code: 'FST_SSE_OPTION',
    message: "Option 'map' must be a function that returns an event or undefined, got one that returns a promise"
  }
  t.throws(() => project(event, { ...ALL, map: async () => event }), error)
  // Like the query of a database client.
  t.throws(() => project(event, { ...ALL, map: () => ({ then: () => {} }) }), error)
})

t.test('R5: a rejection of an async filter or map does not end the process', async t => {
  const rejections: unknown[] = []
  const onUnhandled = (reason: unknown): void => { rejections.push(reason) }
  process.on('unhandledRejection', onUnhandled)
  t.teardown(() => { process.removeListener('unhandledRejection', onUnhandled) })
  const fails = async (): Promise<never> => { throw new Error('async by mistake') }
  t.throws(() => project(event, { ...ALL, filter: fails }), { code: 'FST_SSE_OPTION' })
  t.throws(() => project(event, { ...ALL, map: fails }), { code: 'FST_SSE_OPTION' })
  await turn()
  t.strictSame(rejections, [])
})

t.test('R5: errors of a filter or map are thrown', async t => {
  const error = new Error('no')
  const fails = (): never => {
    throw error
  }
  for (const projection of [{ filter: fails }, { map: fails }]) {
    t.throws(() => project(event, { ...ALL, ...projection }), error)
  }
})

t.test('R5: a key is the returned value; a promise is rejected, even one that rejects', async t => {
  const event = { event: 'tick', data: { symbol: 'ABC' }, id: 'e-1' }
  t.equal(keyOf(event, ({ data }) => (data as { symbol: string }).symbol, 'pace.key'), 'ABC')
  t.equal(keyOf(event, () => undefined, 'pace.key'), undefined)
  t.throws(() =>
    keyOf(event, async () => {
      throw new Error('late')
    }, 'pace.key'), {
    code: 'FST_SSE_OPTION',
    message: "Option 'pace.key' must be a function that returns a key, got one that returns a promise"
  })
})

t.test('an event gets the position in place of its id, and a value that is no event is rejected', async t => {
  t.strictSame(withPosition({ data: 0, id: 'own' }, 'e-1'), { data: 0, id: 'e-1' })
  t.strictSame(withPosition({ comment: 'c' }, undefined), { comment: 'c', id: undefined })
  t.strictSame(withPosition({}, 'e-1'), { id: 'e-1' }, 'only the position')
  t.equal(withPosition('text', 'e-1'), 'text', 'passed on, to be rejected by the write')
  class Own { constructor (fields: object) { Object.assign(this, fields) } }
  const instances = [new Map(), new Own({}), new Own({ id: 'own' }), new Own({ comment: 'c' })]
  for (const payload of [{ price: 1 }, { id: 'own' }, ['data'], [], ...instances]) {
    t.throws(() => withPosition(payload, 'e-1'), { code: 'FST_SSE_EVENT' })
  }
})

t.test('an instance of a class keeps the data of its getter', async t => {
  class Tick {
    get event (): string { return 'tick' }
    get data (): number { return 7 }
  }
  t.match(withPosition(new Tick(), 'e-1'), { event: 'tick', data: 7, id: 'e-1' })
})
