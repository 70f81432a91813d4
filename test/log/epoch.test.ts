import t from 'tap'
import { newEpoch } from '../../lib/log/epoch.ts'

t.test('R1: an epoch is short, has letters and digits only, and is always another one', async t => {
  const epochs = new Set(Array.from({ length: 10_000 }, newEpoch))
  t.equal(epochs.size, 10_000)
  for (const epoch of epochs) if (!/^[0-9a-z]{1,10}$/.test(epoch)) t.fail(epoch)
})
