import t from 'tap'
import { Changes } from '../../lib/inspector/changes.ts'

t.test('a row is told when it comes, when it changes, and when it goes', async t => {
  const changes = new Changes<{ id: number, events: number }>()
  t.strictSame(changes.since([{ id: 1, events: 0 }, { id: 2, events: 0 }]), { rows: [{ id: 1, events: 0 }, { id: 2, events: 0 }], gone: [] })
  t.strictSame(changes.since([{ id: 2, events: 0 }, { id: 1, events: 1 }]), { rows: [{ id: 1, events: 1 }], gone: [] })
  t.strictSame(changes.since([{ id: 1, events: 1 }, { id: 3, events: 0 }]), { rows: [{ id: 3, events: 0 }], gone: [2] })
  t.strictSame(changes.since([]), { rows: [], gone: [1, 3] })
})
