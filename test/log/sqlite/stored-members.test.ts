import { join } from 'node:path'
import t from 'tap'
import { prepareFile } from '../../../lib/log/sqlite/schema.ts'
import { Store } from '../../../lib/log/sqlite/store.ts'
import type { StoredLog } from '../../../lib/log/sqlite/stored-log.ts'
import { openDatabase } from '../../setup/sqlite.ts'

const HISTORY = { maxEvents: 1_000, maxBytes: 1_000_000, maxAge: Infinity }
const LONG = 60_000
const changesOf = (log: StoredLog): string[] => log.read(0, 100).entries.map(({ event, data }) => `${event} ${data}`)

t.test('R4: the members are in the file', async t => {
  const database = openDatabase(join(t.testdir(), 'events.db'))
  t.teardown(() => database.close())
  prepareFile(database, 'events.db', 'normal')
  const open = (): { log: StoredLog, hold: (...args: Parameters<StoredLog['members']['hold']>) => Promise<boolean>, members: () => Promise<readonly string[]> } => {
    const store = new Store(database)
    const log = store.log('news', HISTORY)
    return {
      log,
      hold: (...args) => store.enqueue(log, () => log.members.hold(...args)),
      members: () => store.enqueue(log, () => log.members.members())
    }
  }
  const one = open()
  t.strictSame(await one.members(), [])
  t.equal(one.log.head, undefined, 'members() creates no log')
  await one.hold('one', { add: ['"a"', '"b\\u0000"'], remove: [], fingerprint: 'abc' }, LONG)
  await one.hold('two', { add: ['"a"', '"c"'], remove: [] }, LONG)
  await one.hold('two', { add: [], remove: ['"c"'] }, LONG)
  await one.hold('three', { add: ['"gone"'], remove: [] }, 1)
  await new Promise(resolve => { setTimeout(resolve, 5) })

  const other = open()
  t.strictSame([...await other.members()].sort(), ['"a"', '"b\\u0000"'])
  t.equal(changesOf(other.log).at(-1), 'leave "gone"')
  t.equal(await other.hold('two', { add: [], remove: ['"a"'] }, LONG), true)
  t.equal(changesOf(other.log).at(-1), 'leave "gone"', 'the first holder has the member')
  t.equal(await other.hold('one', { add: [], remove: ['"b\\u0000"'] }, LONG), true)

  const third = open()
  t.strictSame(await third.members(), ['"a"'])
})

t.test('E1: a transaction that fails changes no member', async t => {
  const database = openDatabase(join(t.testdir(), 'events.db'))
  t.teardown(() => database.close())
  prepareFile(database, 'events.db', 'normal')
  const store = new Store(database)
  const log = store.log('news', HISTORY)
  await store.enqueue(log, () => log.members.hold('one', { add: ['"a"'], remove: [] }, LONG))
  const results = await Promise.allSettled([
    store.enqueue(log, () => log.members.hold('one', { add: ['"b"'], remove: ['"a"'] }, LONG)),
    store.enqueue(log, () => { throw new Error('lost') })
  ])
  t.strictSame(results.map(({ status }) => status), ['rejected', 'rejected'])
  t.strictSame(await store.enqueue(log, () => log.members.members()), ['"a"'])
  t.strictSame(changesOf(log), ['join "a"'])
})
