import { AsyncLocalStorage } from 'node:async_hooks'
import t from 'tap'
import { answerOf, timely } from '../../lib/log/timely.ts'

const late = (): Error => new Error('late')

t.test('a call in time settles', async t => {
  let wanted: (() => boolean) | undefined
  t.equal(await timely(async isWanted => {
    wanted = isWanted
    return 7
  }, 60_000, late), 7)
  t.equal(wanted!(), true)
  await t.rejects(timely(async () => { throw new Error('away') }, 60_000, late), { message: 'away' })
})

t.test('L12: a late call rejects, and is not wanted any more; its late rejection is handled', async t => {
  let wanted: (() => boolean) | undefined
  let fail: (error: Error) => void = () => {}
  await t.rejects(timely(isWanted => {
    wanted = isWanted
    return new Promise((_resolve, reject) => { fail = reject })
  }, 1, late), { message: 'late' })
  t.equal(wanted!(), false)
  fail(new Error('at last'))
  await new Promise(setImmediate)
})

t.test('L11: the timer belongs to no caller', async t => {
  const storage = new AsyncLocalStorage<string>()
  const seen: unknown[] = []
  await t.rejects(storage.run('ann', () => timely(() => new Promise(() => {}), 1, () => {
    seen.push(storage.getStore())
    return late()
  })))
  t.strictSame(seen, [undefined])
})

t.test('L12: a log that does not answer in time is unavailable, with its name', async t => {
  t.equal(await answerOf('news', 60_000, async () => 7), 7)
  await t.rejects(answerOf('news', 1, () => new Promise(() => {})), {
    code: 'FST_SSE_LOG_UNAVAILABLE',
    message: "The event log of the channel 'news' did not answer within 1 milliseconds"
  })
})
