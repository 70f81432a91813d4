import t from 'tap'
import { Deadline } from '../../lib/testing/deadline.ts'

t.test('a wait returns the result, or the failure', async t => {
  const wait = new Deadline('GET /: all', 10_000)
  t.equal(await wait.for(Promise.resolve(1)), 1)
  await t.rejects(wait.for(Promise.reject(new Error('broken'))), { message: 'broken' })
  wait.over()
})

t.test('a wait that times out rejects, with the events that arrived', async t => {
  const wait = new Deadline('GET /: 3 events', 5)
  t.equal(await wait.for(Promise.resolve(1)), 1)
  wait.note('tick 1')
  wait.note('tick 2')
  const never = new Promise<never>(() => {})
  await t.rejects(wait.for(never, ', and more'), {
    code: 'FST_SSE_TEST_TIMEOUT',
    message: 'GET /: 3 events did not arrive within 5 ms, and more; so far: tick 1, tick 2'
  })
})

t.test('the message has a limited length', async t => {
  const wait = new Deadline('GET /: its end', Infinity)
  t.match(wait.error('in time').message, /so far: nothing$/)
  for (let n = 1; n <= 12; n++) wait.note(n === 12 ? 'x'.repeat(101) : String(n))
  t.equal(wait.error('in time').message,
    `GET /: its end did not arrive in time; so far: 12, the last of them 3, 4, 5, 6, 7, 8, 9, 10, 11, ${
      'x'.repeat(100)
    }…`)
  const cause = new Error('why')
  t.equal(wait.error('in time', cause).cause, cause)
  wait.over()
})
