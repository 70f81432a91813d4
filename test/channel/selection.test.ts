import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { choose, keyOf, placed } from '../../lib/channel/selection.ts'
import { ALL } from '../setup/party.ts'

const event = Object.freeze({ event: 'message', data: 1, id: 'e-1' })

t.test('without filter and map the event is the one that came', async t => {
  t.equal(choose(event, ALL), event)
})

t.test('a filter says yes or no, and a map is not asked about what is left out', async t => {
  const map = () => t.fail('it was asked')
  t.equal(choose(event, { ...ALL, filter: () => true }), event)
  t.equal(choose(event, { ...ALL, filter: () => false }), undefined)
  t.equal(choose(event, { ...ALL, filter: () => false, map }), undefined)
})

t.test('both are given the event itself', async t => {
  const seen: unknown[] = []
  choose(event, { ...ALL, filter: given => seen.push(given) > 0, map: given => seen.push(given) })
  t.ok(seen.length === 2 && seen.every(given => given === event))
})

t.test('a map answers for the event, and nothing leaves it out', async t => {
  const other = { data: 2 }
  for (const mapped of [other, undefined, null, 0, '', false]) t.equal(choose(event, { ...ALL, map: () => mapped }), mapped)
})

t.test('R5: a filter that answers with anything but true or false is refused', async t => {
  const answers: Array<[unknown, string]> = [[undefined, 'undefined'], [null, 'null'], [1, '1 (number)'], ['', '"" (string)'], [{}, 'an object (Object)'], [Promise.resolve(false), 'a promise']]
  for (const [answer, shown] of answers) {
    t.throws(() => choose(event, { ...ALL, filter: () => answer }), { code: 'FST_SSE_OPTION', message: `Option 'filter' must be a function that returns true or false, got one that returns ${shown}` })
  }
})

t.test('R5: a map that answers with a promise is refused, whoever made the promise', async t => {
  const error = { code: 'FST_SSE_OPTION', message: "Option 'map' must be a function that returns an event or undefined, got one that returns a promise" }
  t.throws(() => choose(event, { ...ALL, map: async () => event }), error)
  // As the query of a database client is one.
  t.throws(() => choose(event, { ...ALL, map: () => ({ then: () => {} }) }), error)
})

t.test('R5: what an async filter or map rejects with ends nothing', async t => {
  const rejections: unknown[] = []
  const heard = (reason: unknown): void => { rejections.push(reason) }
  process.on('unhandledRejection', heard)
  t.teardown(() => { process.removeListener('unhandledRejection', heard) })
  const fails = async (): Promise<never> => { throw new Error('async by mistake') }
  t.throws(() => choose(event, { ...ALL, filter: fails }), { code: 'FST_SSE_OPTION' })
  t.throws(() => choose(event, { ...ALL, map: fails }), { code: 'FST_SSE_OPTION' })
  await turn()
  t.strictSame(rejections, [])
})

t.test('R5: what they throw is thrown', async t => {
  const error = new Error('no')
  const fails = (): never => { throw error }
  for (const selection of [{ filter: fails }, { map: fails }]) t.throws(() => choose(event, { ...ALL, ...selection }), error)
})

t.test('R5: a key is what the function answers, and a promise is none, even one that rejects', async t => {
  const event = { event: 'tick', data: { symbol: 'ABC' }, id: 'e-1' }
  t.equal(keyOf(event, ({ data }) => (data as { symbol: string }).symbol), 'ABC')
  t.equal(keyOf(event, () => undefined), undefined)
  t.throws(() => keyOf(event, async () => { throw new Error('late') }), { code: 'FST_SSE_OPTION', message: "Option 'slow.latest' must be a function that returns a key, got one that returns a promise" })
})

t.test('an event gets the position in place of its own, and what is none is refused', async t => {
  t.strictSame(placed({ data: 0, id: 'own' }, 'e-1'), { data: 0, id: 'e-1' })
  t.strictSame(placed({ comment: 'c' }, undefined), { comment: 'c', id: undefined })
  t.strictSame(placed({}, 'e-1'), { id: 'e-1' }, 'nothing but the position')
  t.equal(placed('text', 'e-1'), 'text', 'to be refused by whoever writes it')
  class Own { constructor (fields: object) { Object.assign(this, fields) } }
  const instances = [new Map(), new Own({}), new Own({ id: 'own' }), new Own({ comment: 'c' })]
  for (const payload of [{ price: 1 }, { id: 'own' }, ['data'], [], ...instances]) {
    t.throws(() => placed(payload, 'e-1'), { code: 'FST_SSE_EVENT' })
  }
})

t.test('an instance of a class keeps the data of its getter', async t => {
  class Tick {
    get event (): string { return 'tick' }
    get data (): number { return 7 }
  }
  t.match(placed(new Tick(), 'e-1'), { event: 'tick', data: 7, id: 'e-1' })
})
