import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import t from 'tap'
import { MemberHolder } from '../../lib/channel/member-holder.ts'
import type { HeldMembers, MemberLog } from '../../lib/log/log.ts'
import { asMemberLog } from '../../lib/log/required-methods.ts'
import { memoryLog } from '../../lib/log/memory.ts'
import { HISTORY } from '../setup/remote-log.ts'
import { within } from '../setup/within.ts'

interface Call extends HeldMembers {
  holder: string
  duration: number
  /** Makes the call in the log. */
  answer: () => Promise<void>
  fail: (error: Error) => Promise<void>
}

/** A holder on a log that answers when the test says so. */
function make (duration = 60_000) {
  const real = asMemberLog(memoryLog()('room', HISTORY))
  const calls: Call[] = []
  const warnings: unknown[] = []
  let sweeps = 0
  const log = {
    hold: (holder: string, change: HeldMembers, lease: number) =>
      new Promise<boolean>((resolve, reject) => {
        calls.push({
          ...change,
          holder,
          duration: lease,
          answer: async () => {
            resolve(await real.hold(holder, change, lease))
            await turn()
          },
          fail: async error => {
            reject(error)
            await turn()
          }
        })
      }),
    members: async () => {
      sweeps++
      await turn()
      return await real.members()
    }
  } as unknown as MemberLog
  const holder = new MemberHolder({ log, name: 'room', logger: { warn: (fields: unknown) => { warnings.push(fields) } }, duration })
  return {
    holder,
    calls,
    warnings,
    sweeps: () => sweeps,
    join: (...texts: string[]) => texts.map(text => holder.join(text, 'f')),
    last: () => calls.at(-1)!,
    changes: async () => (await real.read(0, 1_000)).entries.map(({ event, data }) => `${event} ${data}`),
    members: async () => (await real.members()).toSorted().join()
  }
}

t.test('the changes of one turn are one call, and a second subscription of a member is none', async t => {
  const { holder, calls, join, last, members } = make()
  t.equal(holder.isIdle, true)
  const [leaveA, leaveAgain] = join('a', 'a', 'b')
  t.equal(calls.length, 0)
  await turn()
  t.match(calls, [{ add: ['a', 'b'], remove: [], fingerprint: 'f', duration: 60_000 }])
  t.match(last().holder, /^[0-9a-z]+$/)
  await last().answer()
  leaveA!()
  await turn()
  t.equal(calls.length, 1)
  t.equal(await members(), 'a,b')
  leaveAgain!()
  await turn()
  t.match(last(), { add: [], remove: ['a'] })
  t.equal(holder.isIdle, false)
  await last().answer()
  t.equal(await members(), 'b')
})

t.test('one call is under way, and the next one has all changes since', async t => {
  const { calls, join, last, changes, holder } = make()
  const [leaveA] = join('a')
  await turn()
  const [leaveB] = join('b')
  const [leaveC] = join('c')
  leaveA!()
  leaveC!()
  await turn()
  t.equal(calls.length, 1)
  await last().answer()
  t.match([calls.length, last()], [2, { add: ['b'], remove: ['a'] }])
  // It leaves and returns while its removal is under way, and another one does so while it is held.
  join('a')
  leaveB!()
  join('b')
  await last().answer()
  t.match([calls.length, last()], [3, { add: ['a'], remove: [] }])
  await last().answer()
  t.strictSame(await changes(), ['join a', 'join b', 'leave a', 'join a'])
  t.equal(calls.length, 3)
  t.equal(holder.isIdle, false)
})

t.test('a member that joins and leaves within one turn makes no call', async t => {
  const { calls, join, holder } = make()
  join('a')[0]!()
  await turn()
  await turn()
  t.strictSame([calls.length, holder.isIdle], [0, true])
})

t.test('a tick renews the lease of a process with members, and sweeps only for subscribers', async t => {
  const { holder, calls, join, last, sweeps } = make()
  holder.tick(false)
  t.equal(sweeps(), 0)
  holder.tick(true)
  holder.tick(true)
  t.equal(sweeps(), 1, 'one at a time')
  const [leave] = join('a')
  await turn()
  await turn()
  await turn()
  t.match(calls, [{ add: ['a'] }], 'a change during the sweep follows it')
  holder.tick(true)
  t.equal(calls.length, 1, 'the call under way renews the lease')
  await last().answer()
  holder.tick(true)
  t.match([calls.length, last()], [2, { add: [], remove: [], duration: 60_000 }])
  t.equal(last().holder, calls[0]!.holder)
  await last().answer()
  leave!()
  await turn()
  await last().answer()
  holder.tick(false)
  t.equal(calls.length, 3)
  t.equal(holder.isIdle, true)
})

t.test('members return after a lease that had ended', async t => {
  const { holder, calls, join, last, changes, members } = make(1)
  const [leaveA] = join('a', 'b')
  await turn()
  await last().answer()
  await new Promise(resolve => setTimeout(resolve, 5))
  join('c')
  await turn()
  leaveA!()
  await last().answer()
  t.match(last(), { add: ['b'], remove: [] }, 'the member that left meanwhile does not return')
  await new Promise(resolve => setTimeout(resolve, 5))
  await last().answer()
  t.match(last(), { add: ['c'] }, 'again')
  await last().answer()
  t.match(await changes(), ['join a', 'join b', 'leave a', 'leave b', 'join c', 'leave c', 'join b'])
  holder.tick(false)
  t.equal(calls.length, 5)
  await members()
})

t.test('a call that fails is tried again by another holder: it may still arrive', async t => {
  const { holder, calls, join, last, warnings, members, changes } = make()
  const [leaveA] = join('a', 'b')
  await turn()
  await last().answer()
  join('c')
  leaveA!()
  await turn()
  await last().fail(new Error('away'))
  t.equal(calls.length, 2, 'the next tick tries again')
  t.match(warnings, [{ err: { message: 'away' }, channel: 'room' }])
  holder.tick(false)
  t.match(last(), { add: ['b', 'c'], remove: [] })
  t.not(last().holder, calls[0]!.holder)
  await last().fail(new Error('away'))
  t.equal(warnings.length, 1)
  holder.tick(false)
  await last().answer()
  t.equal(await members(), 'a,b,c', 'the lease of the first holder has not ended')
  // The call that failed arrives late.
  await calls[1]!.answer()
  t.strictSame(await changes(), ['join a', 'join b', 'join c', 'leave a'])
  const [leave] = join('d')
  await turn()
  await last().fail(new Error('away again'))
  t.equal(warnings.length, 2)
  leave!()
  await turn()
  t.match(last(), { add: ['b', 'c'], remove: [] }, 'a change tries at once')
  await last().answer()
})

t.test('the close ends the members at once, after the call under way, and nothing follows', async t => {
  const { holder, calls, join, last, members, warnings } = make()
  const [leave] = join('a', 'b')
  await turn()
  join('c')
  const closed = holder.close()
  await turn()
  t.equal(calls.length, 1)
  await last().answer()
  t.match([calls.length, last()], [2, { add: [], remove: ['a', 'b'], duration: 0 }])
  await last().answer()
  await within('the close', closed)
  t.equal(await members(), '')
  leave!()
  join('d')[0]!()
  holder.tick(true)
  await turn()
  t.equal(calls.length, 2)
  t.strictSame(warnings, [])
})

t.test('the close of a holder without members makes no call', async t => {
  const { holder, calls } = make()
  await holder.close()
  t.equal(calls.length, 0)
})

t.test('the close waits one second at most, and logs a failure', async t => {
  const late = make()
  late.join('a')
  await turn()
  const since = performance.now()
  await within('the close', late.holder.close(), 5_000)
  t.ok(performance.now() - since > 900)
  const failing = make()
  failing.join('a')
  await turn()
  await failing.last().answer()
  const closed = failing.holder.close()
  await turn()
  await failing.last().fail(new Error('away'))
  await within('the close', closed, 900)
  t.match(failing.warnings, [{ err: { message: 'away' } }])
})

t.test('any sequence of joins, leaves, answers, failures and lost leases ends with the members of this process', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('join' as const), member: fc.constantFrom('a', 'b', 'c', 'd') }),
    fc.record({ kind: fc.constant('leave' as const), index: fc.nat({ max: 20 }) }),
    fc.record({ kind: fc.constantFrom('answer' as const, 'fail' as const, 'turn' as const, 'tick' as const) })
  )
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60 }), async steps => {
    const { holder, calls, last, members, changes } = make()
    const open: Array<{ member: string, leave: () => void }> = []
    let answered = 0
    for (const each of steps) {
      if (each.kind === 'join') open.push({ member: each.member, leave: holder.join(each.member, 'f') })
      else if (each.kind === 'leave') open.splice(each.index, 1)[0]?.leave()
      else if (each.kind === 'turn') await turn()
      else if (each.kind === 'tick') holder.tick(false)
      else if (calls.length > answered) {
        answered = calls.length
        if (each.kind === 'answer') await last().answer()
        else await last().fail(new Error('away'))
      }
    }
    for (let rounds = 0; rounds < 4; rounds++) {
      await turn()
      holder.tick(false)
      if (calls.length > answered) {
        answered = calls.length
        await last().answer()
      }
    }
    const present = new Set<string>()
    for (const [event, member] of (await changes()).map(change => change.split(' '))) {
      if (event === 'join' ? present.has(member!) : !present.delete(member!)) throw new Error(`${event} ${member} twice`)
      if (event === 'join') present.add(member!)
    }
    const expected = new Set(open.map(({ member }) => member))
    const failures = steps.some(({ kind }) => kind === 'fail')
    const actual = new Set((await members()).split(',').filter(Boolean))
    // After a failure, the lease of an earlier holder may keep others for a while.
    const extra = [...actual].filter(member => !expected.has(member))
    if ([...expected].some(member => !actual.has(member)) || (!failures && extra.length > 0)) {
      throw new Error(`${[...actual].join()}, not ${[...expected].join()}`)
    }
  }), { numRuns: 150 })
})
