import t from 'tap'
import { FST_SSE_CLOSING } from '../../lib/errors.ts'
import { checkEventLog } from '../../lib/log/check-event-log.ts'
import type { EventLogFactory, LogBatch, MemberLog } from '../../lib/log/log.ts'
import { asMemberLog } from '../../lib/log/required-methods.ts'
import { memoryLog } from '../../lib/log/memory.ts'

t.jobs = 8

/** Runs the tests with that beginning of their title. Returns the titles of those that a log fails, and of all. */
async function run (
  open: EventLogFactory,
  { shared = false, only = '' } = {}
): Promise<{ titles: string[], failed: string[] }> {
  const result = { titles: [] as string[], failed: [] as string[] }
  await checkEventLog({
    test: async (title, body) => {
      result.titles.push(title)
      if (!title.startsWith(only)) return
      await body().catch((error: Error) => { result.failed.push(`${title}: ${error.message}`) })
    }
  }, () => open, { shared })
  return result
}

/** Returns a log in memory with the methods of channels and presence, some of them replaced. */
const changed = (change: (log: MemberLog) => Partial<MemberLog> = () => ({})): EventLogFactory => (...args) => {
  const log = asMemberLog(memoryLog()(...args))
  return {
    append: record => log.append(record),
    read: (after, limit) => log.read(after, limit),
    state: () => log.state(),
    tail: listener => log.tail(listener),
    end: (...args) => log.end(...args),
    isIdle: () => log.isIdle(),
    close: () => log.close(),
    hold: (...args) => log.hold(...args),
    members: () => log.members(),
    ...change(log)
  }
}

/** Returns logs of several nodes, in one store by name. */
function shared (change: (log: MemberLog, node: number) => Partial<MemberLog> = () => ({})): EventLogFactory {
  const store = new Map<string, { log: MemberLog, nodes: number }>()
  return (name, history) => {
    const entry = store.get(name) ?? { log: asMemberLog(changed()(name, history)), nodes: 0 }
    store.set(name, entry)
    const { log } = entry
    const stops: Array<() => void> = []
    let closed = false
    return {
      ...log,
      ...change(log, entry.nodes++),
      tail: (listener: (batch: LogBatch) => void) => {
        const stop = log.tail(listener)
        stops.push(stop)
        return stop
      },
      append: record => {
        if (closed) throw new FST_SSE_CLOSING()
        return log.append(record)
      },
      close: () => {
        closed = true
        for (const stop of stops) stop()
      }
    }
  }
}

t.test('a log without the methods of presence gets none of their tests', async t => {
  const bare: EventLogFactory = (...args) => {
    const { hold: _hold, members: _members, ...log } = changed()(...args)
    return log
  }
  const [without, withMethods] = [await run(bare), await run(changed())]
  t.strictSame([...without.failed, ...withMethods.failed], [])
  t.ok(withMethods.titles.length > without.titles.length + 7)
})

t.test('a shared log passes', async t => {
  t.strictSame((await run(shared(), { shared: true })).failed, [])
})

t.test('a shared log with members per node fails', async t => {
  const { failed } = await run(shared((_log, node) => node === 0 ? {} : { members: () => [] }), { shared: true })
  t.match(failed, [/^two nodes share the members/])
})

t.test('a log that answers slowly passes', async t => {
  let waits = 300
  const slow = changed(log => ({
    hold: async (holder, change, duration) => {
      const isRenewal = change.add.length === 0 && duration > 1_000
      if (isRenewal) await new Promise(resolve => { setTimeout(resolve, waits) })
      if (isRenewal) waits = 0
      return await log.hold(holder, change, duration)
    }
  }))
  t.strictSame((await run(slow, { only: 'a lease that is renewed' })).failed, [])
})

const broken: Array<[description: string, test: string, change: (log: MemberLog) => Partial<MemberLog>]> = [
  ['is held without a lease', 'a member joins', log => ({
    hold: async (...args) => {
      await log.hold(...args)
      return true
    }
  })],
  ['appends a join for each holder', 'a member joins', log => ({
    hold: async (holder, change, duration) => {
      const held = await log.hold(holder, change, duration)
      const { newest } = await log.state()
      if (newest === 1 && holder === 'two') await log.append({ event: 'join', data: '"a"', json: true })
      return held
    }
  })],
  ['forgets the members of another holder', 'a member joins', log => ({
    hold: async (holder, { add, remove }, duration) => {
      if (remove.length > 0) await log.hold('two', { add: [], remove }, duration)
      return await log.hold(holder, { add, remove }, duration)
    }
  })],
  ['appends a change for a held member', 'to add a held member', log => ({
    hold: async (holder, change, duration) => {
      if (change.remove.includes('"c"')) await log.append({ event: 'leave', data: '"c"', json: true })
      return await log.hold(holder, change, duration)
    }
  })],
  ['sorts the members', 'all changes of a call', log => ({
    hold: (holder, { add, ...change }, duration) => log.hold(holder, { ...change, add: add.toSorted() }, duration)
  })],
  ['writes the text of a member again', 'the data of a change', log => ({
    hold: (holder, { add, remove, fingerprint }, duration) => {
      const again = (texts: readonly string[]): string[] => texts.map(text => JSON.stringify(JSON.parse(text)))
      return log.hold(holder, { add: again(add), remove: again(remove), fingerprint }, duration)
    }
  })],
  ['loses the fingerprint', 'the data of a change', log => ({
    hold: (holder, { add, remove }, duration) => log.hold(holder, { add, remove }, duration)
  })],
  ['never lets a lease end by hold', 'the members of a holder leave with its lease, by the next call of hold', log => ({
    hold: (holder, change) => log.hold(holder, change, 60_000)
  })],
  ['ends the members of an expired lease for all holders',
    'the members of a holder leave with its lease, by the next call of hold', log => ({
      hold: async (holder, change, duration) => {
        if (duration > 1_000 && change.add.length === 0) await log.hold(holder, { add: [], remove: ['"both"'] }, duration)
        return await log.hold(holder, change, duration)
      }
    })],
  ['never lets a lease end by members', 'the members of a holder leave with its lease, by the next call of members',
    log => {
      const held = new Set<string>()
      return {
        hold: (holder, change, duration) => {
          for (const each of change.add) held.add(each)
          for (const each of change.remove) held.delete(each)
          return log.hold(holder, change, duration)
        },
        members: () => [...held]
      }
    }],
  ['ends a lease early', 'a lease that is renewed', log => ({
    hold: async (holder, change, duration) => await log.hold(holder, change, duration) && change.add.length > 0
  })],
  ['keeps the first duration of a lease', 'a lease that is renewed', log => {
    const durations = new Map<string, number>()
    return {
      hold: (holder, change, duration) => {
        durations.set(holder, durations.get(holder) ?? duration)
        return log.hold(holder, change, durations.get(holder)!)
      }
    }
  }],
  ['changes members in two steps', 'of several holders', log => ({
    hold: async (holder, change, duration) => {
      const known = (await log.members()).includes('"a"')
      const held = await log.hold(holder, change, duration)
      if (!known && (await log.state()).newest > 0 && holder !== 'holder-0') {
        await log.append({ event: 'join', data: '"a"', json: true })
      }
      return held
    }
  })],
  ['evicts its members', 'members outlive', log => ({
    members: async () => (await log.read(0, 1)).entries.length === 0 ? [] : await log.members()
  })]
]
for (const [description, test, change] of broken) {
  t.test(`a log that ${description} fails`, async t => {
    const { failed } = await run(changed(change), { only: test })
    t.equal(failed.length, 1, `it fails: ${test}`)
  })
}
