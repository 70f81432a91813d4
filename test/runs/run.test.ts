import t from 'tap'
import { stateOf } from '../../lib/runs/run.ts'

t.test('the state of a run is that of its log', async t => {
  const open = { epoch: 'a', newest: 1, ended: false, leased: true }
  t.equal(stateOf(open), 'running')
  t.equal(stateOf({ ...open, outcome: 'complete' }), 'running')
  for (const outcome of ['complete', 'failed', 'stopped', 'broken'] as const) {
    t.equal(stateOf({ ...open, ended: true, leased: false, outcome }), outcome)
  }
  for (const outcome of [undefined, '', 'running', 'cancelled']) {
    t.equal(stateOf({ ...open, ended: true, outcome }), 'stopped', 'another program ended it')
  }
  t.equal(stateOf(undefined), 'broken')
})
