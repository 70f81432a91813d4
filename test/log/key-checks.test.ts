import t from 'tap'
import { checkEventLog } from '../../lib/log/check-event-log.ts'
import type { EventLog, EventLogFactory, KeyedPosition, LogRecord } from '../../lib/log/log.ts'
import { memoryLog } from '../../lib/log/memory.ts'

type AppendOnce = (record: LogRecord, key: string) => KeyedPosition | Promise<KeyedPosition>

/** Returns a log in memory whose appends with a key are changed. */
function keyed (
  change: (log: EventLog, once: AppendOnce) => AppendOnce,
  logs: EventLogFactory = memoryLog()
): EventLogFactory {
  return (name, history) => {
    const log = logs(name, history)
    const once: AppendOnce = (record, key) => log.appendOnce!(record, key)
    return {
      append: record => log.append(record),
      read: (after, limit) => log.read(after, limit),
      state: () => log.state(),
      tail: listener => log.tail(listener),
      end: () => log.end(),
      isIdle: () => log.isIdle(),
      close: () => {},
      appendOnce: change(log, once)
    }
  }
}

/** Returns a factory of logs that two nodes share. */
function shared (): EventLogFactory {
  const logs = new Map<string, EventLog>()
  const open = memoryLog()
  return (name, history) => {
    const log = logs.get(name) ?? open(name, history)
    logs.set(name, log)
    return log
  }
}

/** Returns the titles of the tests about keys: of all, and of the failed ones. */
async function run (
  open: EventLogFactory,
  options?: { shared: boolean }
): Promise<{ all: string[], failed: string[] }> {
  const all: string[] = []
  const failed: string[] = []
  await checkEventLog({
    test: async (title, body) => {
      all.push(title)
      if (/\bkeys?\b/.test(title)) await body().catch(() => { failed.push(title) })
    }
  }, () => open, options)
  return { all: all.filter(title => /\bkeys?\b/.test(title)), failed }
}

const KEPT = 'a key appends one record, and a later call gets its position'

t.test('a log that appends once per key passes, also one that answers later', async t => {
  const { all, failed } = await run(keyed((_, once) => async (record, key) => once(record, key)))
  t.strictSame(failed, [])
  t.equal(all.length, 7)
})

t.test('a shared log has one more promise', async t => {
  const { all, failed } = await run(keyed((_, once) => once, shared()), { shared: true })
  t.strictSame(failed, [])
  t.equal(all.length, 8)
})

t.test('a log without the method is not checked', async t => {
  const open = keyed((_, once) => once)
  const without: EventLogFactory = (name, history) => {
    const { appendOnce: _, ...log } = open(name, history)
    return log
  }
  t.strictSame((await run(without)).all, [])
})

const broken: Array<[description: string, test: string, change: (log: EventLog, once: AppendOnce) => AppendOnce]> = [
  ['appends each time', KEPT, log => async record => ({ ...await log.append(record), appended: true })],
  ['always says that it appended', KEPT, (_, once) => async (record, key) => ({ ...await once(record, key), appended: true })],
  ['returns the newest position', KEPT, (log, once) => async (record, key) => {
    const { epoch, appended } = await once(record, key)
    return { epoch, appended, offset: (await log.state()).newest }
  }],
  ['loses the fingerprint', 'a record with a key is stored as it was appended',
    (_, once) => ({ fingerprint: _lost, ...record }, key) => once(record, key)],
  ['looks for the key before it appends', 'of several calls at once with one key, one appends', log => {
    const keys = new Map<string, KeyedPosition>()
    return async (record, key) => {
      const found = keys.get(key)
      if (found !== undefined) return { ...found, appended: false }
      const position = { ...await log.append(record), appended: true }
      keys.set(key, position)
      return position
    }
  }],
  ['compares keys without case', 'keys that differ in one character are different keys',
    (_, once) => (record, key) => once(record, key.toLowerCase())],
  ['trims keys', 'keys that differ in one character are different keys',
    (_, once) => (record, key) => once(record, key.trim())],
  ['forgets the key of an evicted entry', 'a key is kept when its entry is evicted',
    (log, once) => async (record, key) => {
      const { oldest, newest } = await log.state()
      return oldest > newest && newest > 0 ? { ...await log.append(record), appended: true } : once(record, key)
    }],
  ['rejects every key after the end', 'after the end a key still has its position, and a new key is rejected',
    (log, once) => async (record, key) => {
      if ((await log.state()).ended) await log.append(record)
      return once(record, key)
    }]
]
for (const [description, test, change] of broken) {
  t.test(`a log that ${description} fails`, async t => {
    t.ok((await run(keyed(change))).failed.includes(test))
  })
}

t.test('a log that shares its keys with other logs fails', async t => {
  const keys = new Map<string, KeyedPosition>()
  const open = keyed((_, once) => async (record, key) => {
    const found = keys.get(key)
    if (found !== undefined) return { ...found, appended: false }
    const position = await once(record, key)
    keys.set(key, position)
    return position
  })
  t.ok((await run(open)).failed.includes('two logs have different keys'))
})

t.test('a shared log that keeps keys per node fails', async t => {
  let node = 0
  const open = keyed((_, once) => {
    const own = `${++node}`
    return (record, key) => once(record, own + key)
  }, shared())
  t.strictSame((await run(open, { shared: true })).failed, ['two nodes append one record per key'])
})
