import fc from 'fast-check'
import t from 'tap'
import type { LogRecord } from '../../lib/log/log.ts'
import { MemberTable } from '../../lib/log/member-table.ts'

const text = ({ event, data }: LogRecord): string => `${event} ${data}`

t.test('a member joins with its first holder and leaves with its last one', async t => {
  const table = new MemberTable()
  t.strictSame(table.hold('one', { add: ['a', 'b'], remove: [], fingerprint: 'f' }, 10), {
    held: false,
    records: ['a', 'b'].map(data => ({ event: 'join', data, json: true, fingerprint: 'f' }))
  })
  t.strictSame(table.hold('two', { add: ['b', 'c'], remove: [] }, 20).records.map(text), ['join c'])
  t.strictSame(table.hold('one', { add: ['d'], remove: ['b', 'a', 'c'] }, 10).records.map(text), ['join d', 'leave a'])
  t.strictSame(table.members.toSorted(), ['b', 'c', 'd'])
})

t.test('an expired lease ends the members of its holder alone', async t => {
  const table = new MemberTable()
  table.hold('one', { add: ['a', 'b'], remove: [], fingerprint: 'f' }, 10)
  table.hold('two', { add: ['b'], remove: [] }, 20)
  t.strictSame(table.expire(9), [])
  t.strictSame(table.expire(10), [{ event: 'leave', data: 'a', json: true, fingerprint: 'f' }])
  t.equal(table.hold('one', { add: [], remove: [] }, 20).held, false)
  t.strictSame([table.members, table.expire(20).map(text), table.members], [['b'], ['leave b'], []])
})

t.test('any sequence of calls: the entries, played in order, are the members, and each join has its leave', async () => {
  const member = fc.constantFrom('a', 'b', 'c', 'd')
  const call = fc.record({
    holder: fc.constantFrom('one', 'two', 'three'),
    change: fc.uniqueArray(member).chain(all => fc.nat({ max: all.length }).map(cut => ({
      add: all.slice(0, cut), remove: all.slice(cut)
    }))),
    duration: fc.nat({ max: 5 })
  })
  fc.assert(fc.property(fc.array(call, { maxLength: 60 }), calls => {
    const table = new MemberTable()
    const held = new Map<string, { members: Set<string>, until: number }>()
    const played = new Set<string>()
    calls.forEach(({ holder, change: { add, remove }, duration }, now) => {
      for (const [name, { until }] of held) if (until <= now) held.delete(name)
      const known = held.get(holder)
      const members = known?.members ?? new Set()
      for (const each of add) members.add(each)
      for (const each of remove) members.delete(each)
      held.set(holder, { members, until: now + duration })
      const left = table.expire(now)
      const answer = table.hold(holder, { add, remove }, now + duration)
      if (answer.held !== (known !== undefined)) throw new Error('held')
      for (const { event, data } of [...left, ...answer.records]) {
        if (event === 'join' ? played.has(data) : !played.delete(data)) throw new Error(`${event} ${data} twice`)
        if (event === 'join') played.add(data)
      }
      const expected = [...new Set([...held.values()].flatMap(({ members }) => [...members]))].toSorted().join()
      if (expected !== table.members.toSorted().join()) throw new Error(`${table.members.join()}, not ${expected}`)
      if (expected !== [...played].toSorted().join()) throw new Error(`played ${[...played].join()}, not ${expected}`)
    })
  }), { numRuns: 500 })
})
