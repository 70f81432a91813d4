import assert from 'node:assert/strict'
import type { LogCheck } from './checks.ts'
import type { EventLog, HeldMembers, LogRecord, MemberLog } from './log.ts'
import { asMemberLog } from './required-methods.ts'
import { RecordedTail } from './recorded-tail.ts'

// The contract of a log that serves presence, one test per promise.

const LONG = 60_000

const add = (...members: string[]): HeldMembers => ({ add: members, remove: [] })
const remove = (...members: string[]): HeldMembers => ({ add: [], remove: members })

const membersOf = async (log: MemberLog): Promise<string[]> => [...await log.members()].sort()

/** Returns the entries after an offset, `join "a"` for each. */
async function changesOf (log: EventLog, after = 0): Promise<string[]> {
  const { entries } = await log.read(after, 1_000)
  return entries.map(({ event, data }) => `${event} ${data}`)
}

/** Waits until the lease of `"gone"` has ended. No call but `act` reaches the log. */
async function untilGone (log: MemberLog, act: () => unknown): Promise<void> {
  for (let waited = 0; ; waited += 10) {
    await act()
    if ((await changesOf(log)).includes('leave "gone"')) return
    assert.ok(waited < 5_000, 'the lease has not ended after 5 seconds')
    await new Promise(resolve => { setTimeout(resolve, 10) })
  }
}

export async function checkMemberLog (check: LogCheck): Promise<void> {
  await check('a member joins with its first holder, and leaves with its last one', async event => {
    const log = asMemberLog(event)
    assert.deepEqual(await membersOf(log), [])
    assert.equal(await log.hold('one', add('"a"'), LONG), false, 'the holder had no lease')
    assert.deepEqual(await membersOf(log), ['"a"'])
    assert.equal(await log.hold('two', add('"a"'), LONG), false)
    assert.equal(await log.hold('one', remove('"a"'), LONG), true, 'the holder has a lease without a member, too')
    assert.deepEqual([await membersOf(log), await changesOf(log)], [['"a"'], ['join "a"']])
    assert.equal(await log.hold('two', remove('"a"'), LONG), true)
    assert.deepEqual([await membersOf(log), await changesOf(log)], [[], ['join "a"', 'leave "a"']])
    assert.equal(await log.hold('one', add('"a"'), LONG), true)
    assert.deepEqual([await membersOf(log), (await changesOf(log)).at(2)], [['"a"'], 'join "a"'])
  })

  await check('to add a held member, to remove another one, or to change nothing appends nothing', async event => {
    const log = asMemberLog(event)
    await log.hold('one', add('"a"', '"a"', '"b"'), LONG)
    assert.equal(await log.hold('one', { add: ['"b"', '"a"'], remove: ['"c"'] }, LONG), true)
    assert.equal(await log.hold('one', add(), LONG), true)
    assert.equal(await log.hold('two', remove('"a"'), LONG), false)
    assert.deepEqual(await membersOf(log), ['"a"', '"b"'])
    assert.deepEqual(await changesOf(log), ['join "a"', 'join "b"'])
    assert.equal((await log.state()).newest, 2)
  })

  await check('all changes of a call are entries, in the order of its members: joins, then leaves', async event => {
    const log = asMemberLog(event)
    const tail = new RecordedTail()
    log.tail(tail.listener)
    await log.state()
    const numbers = Array.from({ length: 300 }, (_, n) => JSON.stringify(`${(n * 7) % 300}`))
    await log.hold('one', add(...numbers), LONG)
    await log.append({ event: 'message', data: 'between', json: false })
    await log.hold('one', { add: ['"last"'], remove: numbers.toReversed() }, LONG)
    await tail.waitFor('all changes', () => tail.entries.length >= 602)
    const expected = [
      ...numbers.map(member => `join ${member}`), 'message between', 'join "last"',
      ...numbers.toReversed().map(member => `leave ${member}`)
    ]
    assert.deepEqual(tail.entries.map(({ event, data }) => `${event} ${data}`), expected)
    assert.deepEqual(tail.entries.map(({ offset }) => offset), expected.map((_, n) => n + 1))
    assert.deepEqual(await changesOf(log), expected)
    assert.deepEqual(await membersOf(log), ['"last"'])
  })

  await check('the data of a change is the text of its member, with the fingerprint of the call', async event => {
    const log = asMemberLog(event)
    const members = ['"é€😀\\u0000\\n"', '{"b":1,"a":[2]}', '{"b": 1, "a": [2]}', '7', '""', '"x,y:z"']
    const fingerprint = 'aZ09-_'
    await log.hold('one', { ...add(...members), fingerprint }, LONG)
    await log.hold('one', { ...remove(members[1]!), fingerprint }, LONG)
    await log.hold('one', add('"plain"'), LONG)
    const change = (event: string, data: string): LogRecord => ({ event, data, json: true, fingerprint })
    const { entries } = await log.read(0, 100)
    assert.deepEqual(entries.slice(0, -1).map(entry => ({ ...entry })), [
      ...members.map(member => change('join', member)), change('leave', members[1]!)
    ].map((each, n) => ({ offset: n + 1, ...each })))
    assert.deepEqual({ ...entries.at(-1)! }, { offset: 8, event: 'join', data: '"plain"', json: true })
    assert.deepEqual(await membersOf(log), [...members.filter((_, n) => n !== 1), '"plain"'].sort())
  })

  await check('the members of a holder leave with its lease, by the next call of hold', async event => {
    const log = asMemberLog(event)
    await log.hold('two', add('"both"'), LONG)
    await log.hold('one', add('"both"', '"gone"'), 50)
    await untilGone(log, () => log.hold('two', add(), LONG))
    assert.deepEqual(await changesOf(log), ['join "both"', 'join "gone"', 'leave "gone"'])
    assert.deepEqual(await membersOf(log), ['"both"'])
  })

  await check('the members of a holder leave with its lease, by the next call of members', async event => {
    const log = asMemberLog(event)
    await log.hold('one', add('"gone"'), 50)
    await log.hold('two', add('"other"', '"third"'), LONG)
    await untilGone(log, () => log.members())
    assert.deepEqual(await membersOf(log), ['"other"', '"third"'])
    assert.equal(await log.hold('one', add('"new"'), LONG), false, 'a holder with an expired lease holds `add` alone')
    assert.deepEqual(await membersOf(log), ['"new"', '"other"', '"third"'])
  })

  await check('a lease that is renewed does not end, and the last duration counts', async event => {
    const log = asMemberLog(event)
    let duration = 200
    for (;;) {
      const start = performance.now()
      await log.hold('one', add('"renewed"'), duration)
      if (await log.hold('one', add(), LONG)) break
      // On a busy machine, the renewal may come too late.
      assert.ok(performance.now() - start >= duration * 0.9, 'a lease does not end early')
      duration *= 2
    }
    await log.hold('two', add('"gone"'), LONG)
    assert.equal(await log.hold('two', add(), 1), true)
    await new Promise(resolve => { setTimeout(resolve, duration + 50) })
    await untilGone(log, () => log.members())
    assert.deepEqual(await membersOf(log), ['"renewed"'])
    assert.equal(await log.hold('one', remove('"renewed"'), 0), true)
    assert.deepEqual(await membersOf(log), [])
  })

  await check('of several holders that add or remove a member at once, one appends the change', async event => {
    const log = asMemberLog(event)
    const holders = Array.from({ length: 20 }, (_, n) => `holder-${n}`)
    await Promise.all(holders.map(async holder => log.hold(holder, add('"a"'), LONG)))
    assert.deepEqual([await changesOf(log), await membersOf(log)], [['join "a"'], ['"a"']])
    await Promise.all(holders.map(async holder => log.hold(holder, remove('"a"'), LONG)))
    assert.deepEqual([await changesOf(log, 1), await membersOf(log)], [['leave "a"'], []])
  })

  await check('members outlive the history of their entries', async event => {
    const log = asMemberLog(event)
    await log.hold('one', add('"a"', '"b"'), LONG)
    await new Promise(resolve => { setTimeout(resolve, 60) })
    assert.deepEqual(await changesOf(log), [])
    assert.deepEqual(await membersOf(log), ['"a"', '"b"'])
    assert.equal(await log.hold('one', remove('"a"'), LONG), true)
    assert.deepEqual(await membersOf(log), ['"b"'])
  }, { maxAge: 40 })
}

export async function checkSharedMemberLog (check: LogCheck): Promise<void> {
  await check('two nodes share the members, and each delivers all changes', async (one, open) => {
    const [here, there] = [asMemberLog(one), asMemberLog(open())]
    const [tail, otherTail] = [new RecordedTail(), new RecordedTail()]
    here.tail(tail.listener)
    there.tail(otherTail.listener)
    await Promise.all([here.state(), there.state()])
    assert.equal(await there.hold('two', add('"a"'), LONG), false)
    assert.deepEqual(await membersOf(here), ['"a"'])
    assert.equal(await here.hold('one', add('"a"', '"gone"'), 50), false)
    here.close()
    await untilGone(there, () => there.members())
    assert.deepEqual(await membersOf(there), ['"a"'])
    await otherTail.waitFor('all changes', () => otherTail.entries.length >= 3)
    assert.deepEqual(otherTail.entries.map(({ event, data }) => `${event} ${data}`),
      ['join "a"', 'join "gone"', 'leave "gone"'])
  })
}
