import t from 'tap'
import { heldBack, lagOf } from '../../../lib/cli/doctor/comparison.ts'
import { event, every, seen, type Came } from '../../setup/seen.ts'

const compare = async (sooner: Came, later: Came, at = 20_000) =>
  heldBack(await seen({ came: sooner, at }), await seen({ came: later, at }))

t.test('equal exchanges hold nothing back, also with jitter', async t => {
  t.equal(await compare(every(1_000, 10), every(1_000, 10)), undefined)
  t.equal(await compare(every(1_000, 10), every(1_000, 10, 900)), undefined)
  t.equal(await compare(every(1_000, 10, 5_000), every(1_000, 10)), undefined, 'nor does one that is faster')
})

t.test('events that arrive a second later are held back, and the longest delay is reported', async t => {
  t.strictSame(await compare(every(1_000, 10), every(1_000, 10, 1_500)), { events: 10, most: 1_500 })
  const lump = every(1_000, 10).map(([, text]): [number, string] => [10_000, text])
  t.strictSame(await compare(every(1_000, 10), lump), { events: 9, most: 9_000 })
})

t.test('an event that never arrives is as late as the wait for it', async t => {
  t.strictSame(await compare(every(1_000, 10), every(1_000, 4)), { events: 6, most: 15_000 })
  t.strictSame(await compare([[500, event(1)]], []), { events: 1, most: 19_500 })
  t.equal(await compare(every(1_000, 19), every(1_000, 18)), undefined,
    'an event at the end of the examination may be missing')
})

t.test('one late event is chance, and without events there is no comparison', async t => {
  t.equal(await compare(every(1_000, 2), [[1_000, event(1)], [9_000, event(2)]]), undefined)
  t.equal(await compare([], every(1_000, 2)), undefined)
  t.equal(await compare([[19_900, event(1)]], []), undefined)
})

t.test('events are matched by content: a later connection misses the first ones', async t => {
  t.equal(await compare(every(1_000, 10), every(1_000, 10).slice(3)), undefined)
  t.equal(
    await compare(every(1_000, 6).map(([at]) => [at, 'data: tick\n\n']),
      every(1_000, 6).map(([at]) => [at, 'data: tick\n\n'])),
    undefined,
    'the second tick is the second tick'
  )
})

t.test('if each connection has its own events, the first is compared with the first', async t => {
  const own = (name: string, late: number): Came =>
    every(1_000, 5).map(([at], index) => [at + late, `data: ${name} ${index}\n\n`])
  t.equal(await compare(own('a', 0), own('b', 100)), undefined)
  t.strictSame(await compare(own('a', 0), own('b', 3_000)), { events: 5, most: 3_000 })
})

t.test('the same events are compared by one clock, whichever request was sent first', async t => {
  const origin = await seen({ came: every(1_000, 10) })
  // Sent 400 ms later, and each event 600 ms after its request's own time: 1,000 ms in all.
  const later = await seen({ came: every(1_000, 10, 600), start: 400 })
  t.strictSame(heldBack(origin, later), { events: 10, most: 1_000 })
  t.strictSame(lagOf(origin, later), { events: 10, median: 1_000, most: 1_000 })
  t.strictSame(lagOf(origin, await seen({ came: every(1_000, 10, -400), start: 400 })), {
    events: 10,
    median: 0,
    most: 0
  })
})

t.test('the lag is the median of the events that arrived in both exchanges', async t => {
  const origin = await seen({ came: every(1_000, 4) })
  t.strictSame(lagOf(origin, await seen({ came: [[1_010, event(1)], [2_200, event(2)], [3_300, event(3)]] })), {
    events: 3,
    median: 200,
    most: 300
  })
  t.equal(lagOf(origin, await seen({ came: [[1_010, event(1)]] })), undefined, 'one event is chance')
})
