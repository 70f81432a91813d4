import t from 'tap'
import type { KnownPosition } from '../../../lib/log/redis/known-position.ts'
import { PositionChecks } from '../../../lib/log/redis/position-checks.ts'

const at = (offset: number): KnownPosition => ({ epoch: 'abc', offset, appendedAt: '1', secret: 's' })

t.test('one check is under way at a time, and each position is checked, in order', async t => {
  const checked: number[] = []
  const gates: Array<(error?: Error) => void> = []
  const checks = new PositionChecks(({ offset }) => {
    checked.push(offset)
    return new Promise((resolve, reject) => {
      gates.push(error => { error === undefined ? resolve() : reject(error) })
    })
  })
  const second = at(2)
  for (const position of [at(1), second, second, at(3)]) checks.add(position)
  t.strictSame(checked, [1])
  // An error does not end the checks.
  gates[0]!(new Error('no connection'))
  while (checked.length < 2) await Promise.resolve()
  t.strictSame(checked, [1, 2])
  gates[1]!()
  while (checked.length < 3) await Promise.resolve()
  gates[2]!()
  for (let n = 0; n < 10; n++) await Promise.resolve()
  t.strictSame(checked, [1, 2, 3])
  checks.add(at(4))
  t.strictSame(checked, [1, 2, 3, 4])
  for (let n = 0; n < 100; n++) checks.add(at(5 + n))
  while (gates.length > 0) {
    gates.pop()!()
    for (let n = 0; n < 10; n++) await Promise.resolve()
  }
  t.equal(checked.at(-1), 68, 'a bounded number waits')
})

t.test('a check is due 15 seconds after the last one', async t => {
  let time = 100_000
  t.intercept(performance, 'now', { value: () => time })
  const checks = new PositionChecks(async () => {})
  t.ok(checks.isDue(time))
  checks.add(at(1))
  t.notOk(checks.isDue(time += 14_999))
  t.ok(checks.isDue(++time))
})
