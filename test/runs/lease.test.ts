import t, { type Test } from 'tap'
import type { RunLog } from '../../lib/log/log.ts'
import { Lease } from '../../lib/runs/lease.ts'

type Answer = boolean | Promise<boolean>

/** A lease of 100 milliseconds, whose log answers with the next of these answers. */
function make (answers: Array<() => Answer>, duration = 100): { lease: Lease, requests: Array<[string, number]> } {
  const requests: Array<[string, number]> = []
  const log = {
    lease: (...request: [string, number]) => {
      requests.push(request)
      return answers.shift()!()
    }
  } as Partial<RunLog> as RunLog
  return { lease: new Lease(log, 'me', duration), requests }
}

const pause = (time: number): Promise<void> => new Promise(resolve => { setTimeout(resolve, time) })
const fail = (): never => { throw new Error('away') }

t.test('a lease is acquired, renewed and refused as the log says', async t => {
  const { lease, requests } = make([() => true, async () => true, async () => false, () => false])
  t.equal(lease.owner, 'me')
  t.strictSame([await lease.acquire(), await lease.renew(), await lease.renew(), await lease.acquire()],
    [true, true, false, false])
  t.strictSame(requests, Array.from({ length: 4 }, () => ['me', 100]))
})

t.test('an error of the log is one of acquire, and no loss for renew until the lease has expired', async (t: Test) => {
  const { lease } = make([fail, () => true, fail, async () => fail(), fail])
  await t.rejects(lease.acquire(), { message: 'away' })
  await lease.acquire()
  t.equal(await lease.renew(), true)
  t.equal(await lease.renew(), true)
  await pause(110)
  t.equal(await lease.renew(), false)
})

t.test('a log that does not answer is no loss until the lease has expired, and gets one request', async t => {
  let answer: (held: boolean) => void = () => {}
  const { lease, requests } = make([() => true, () => new Promise(resolve => { answer = resolve }), () => true])
  await lease.acquire()
  const pending = lease.renew()
  t.equal(await lease.renew(), true)
  await pause(110)
  t.equal(await lease.renew(), false)
  t.equal(requests.length, 2)
  answer(true)
  t.equal(await pending, true)
  t.equal(await lease.renew(), true)
})
