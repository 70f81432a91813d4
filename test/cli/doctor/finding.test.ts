import t from 'tap'
import { counted, note, probeOf, problem, timeText, warning } from '../../../lib/cli/doctor/finding.ts'

t.test('a probe has the mark of its worst finding', async t => {
  t.equal(probeOf('x', '', []).mark, 'ok')
  t.equal(probeOf('x', '', [note('a')]).mark, 'note')
  t.equal(probeOf('x', '', [problem('a'), note('b'), warning('c')]).mark, 'problem')
  t.strictSame(probeOf('x', 'all', [warning('a', 'b')]), {
    name: 'x',
    mark: 'warning',
    summary: 'all',
    findings: [{ mark: 'warning', text: 'a', setting: 'b' }]
  })
  t.strictSame(note('a'), { mark: 'note', text: 'a' })
})

t.test('times and counts are formatted for people', async t => {
  t.strictSame([0.4, 12.3, 999.4, 1_000, 61_250].map(timeText), ['0 ms', '12 ms', '999 ms', '1.0 s', '61.3 s'])
  t.strictSame([0, 1, 2].map(n => counted(n, 'event')), ['0 events', '1 event', '2 events'])
})
