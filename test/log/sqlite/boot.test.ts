import t from 'tap'
import { currentBoot, isSameBoot } from '../../../lib/log/sqlite/boot.ts'

t.test('R8: a boot has one name', t => {
  t.ok(isSameBoot(currentBoot(), currentBoot()))
  const [one, other] = [currentBoot('/none'), currentBoot('/none')]
  t.match(one, /^at \d+$/)
  t.ok(isSameBoot(one, other))
  t.end()
})

t.test('R8: two boots have different names', t => {
  t.ok(isSameBoot('at 20000', 'at 29999'), 'the clock was adjusted')
  t.notOk(isSameBoot('at 20000', 'at 30000'))
  t.notOk(isSameBoot('at 30000', 'at 20000'))
  t.notOk(isSameBoot('a', 'b'))
  t.notOk(isSameBoot('a', 'at 20000'))
  t.end()
})
