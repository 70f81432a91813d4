import t from 'tap'
import { KeyedAppends } from '../../lib/log/keyed-appends.ts'
import { KEY_DURATION } from '../../lib/log/log.ts'

t.test('a key is found until its duration is over', async t => {
  const keyed = new KeyedAppends()
  t.equal(keyed.find('a', 0), undefined)
  keyed.add('a', 7, 0)
  keyed.add('b', 8, 5)
  t.equal(keyed.find('a', KEY_DURATION - 1), 7)
  t.equal(keyed.find('a', KEY_DURATION), undefined)
  t.equal(keyed.find('b', KEY_DURATION), 8)
  t.equal(keyed.isEmpty(KEY_DURATION + 4), false)
  t.equal(keyed.isEmpty(KEY_DURATION + 5), true)
})

t.test('a key that was added again expires after the keys before it', async t => {
  const keyed = new KeyedAppends()
  keyed.add('a', 1, 0)
  keyed.add('b', 2, 1)
  t.equal(keyed.find('a', KEY_DURATION), undefined)
  keyed.add('a', 3, KEY_DURATION)
  t.equal(keyed.find('b', KEY_DURATION + 1), undefined)
  t.equal(keyed.find('a', KEY_DURATION + 1), 3)
})
