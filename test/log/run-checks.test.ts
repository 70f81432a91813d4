import t from 'tap'
import { FST_SSE_CLOSING } from '../../lib/errors.ts'
import { checkEventLog, type CheckEventLogOptions } from '../../lib/log/check-event-log.ts'
import type { EventLogFactory, LogRecord, RunLog } from '../../lib/log/log.ts'
import { memoryLog } from '../../lib/log/memory.ts'

t.jobs = 8

/** Returns the titles of the tests that a log fails, and of all tests. */
async function run (
  open: EventLogFactory,
  options?: CheckEventLogOptions
): Promise<{ titles: string[], failed: string[] }> {
  const result = { titles: [] as string[], failed: [] as string[] }
  await checkEventLog({
    test: async (title, body) => {
      result.titles.push(title)
      await body().catch((error: Error) => { result.failed.push(`${title}: ${error.message}`) })
    }
  }, () => open, options)
  return result
}

/** Returns a log in memory as a plain object, so that a test can replace some of its methods. */
function plain (...args: Parameters<EventLogFactory>): RunLog {
  const log = memoryLog()(...args) as RunLog
  return {
    append: record => log.append(record),
    read: (after, limit) => log.read(after, limit),
    state: () => log.state(),
    tail: listener => log.tail(listener),
    end: (...args) => log.end(...args),
    isIdle: () => log.isIdle(),
    close: () => log.close(),
    peek: () => log.peek(),
    lease: (owner, duration) => log.lease(owner, duration)
  }
}

/** Returns logs of several nodes, in one store by name. */
function shared (change: (log: RunLog, node: number) => Partial<RunLog> = () => ({})): EventLogFactory {
  const store = new Map<string, { log: RunLog, nodes: number }>()
  return (name, history) => {
    const entry = store.get(name) ?? { log: plain(name, history), nodes: 0 }
    store.set(name, entry)
    const { log } = entry
    const stops: Array<() => void> = []
    let closed = false
    let used = false
    const node = {
      ...log,
      ...change(log, entry.nodes++),
      tail: (listener: Parameters<RunLog['tail']>[0]) => {
        const stop = log.tail(listener)
        stops.push(stop)
        return stop
      },
      append: (record: LogRecord) => {
        if (closed) throw new FST_SSE_CLOSING()
        return log.append(record)
      },
      close: () => {
        closed = true
        for (const stop of stops) stop()
      }
    }
    const { peek } = node
    // A log in memory exists before its first use.
    return {
      ...node,
      lease: (...args) => {
        used = true
        return node.lease(...args)
      },
      peek: async () => {
        const status = await peek()
        return used || status?.owner !== undefined || (status?.newest ?? 0) > 0 ? status : undefined
      }
    }
  }
}

t.test('a log without the methods of runs gets none of their tests', async t => {
  const bare: EventLogFactory = (...args) => {
    const { peek: _peek, lease: _lease, ...log } = plain(...args)
    return log
  }
  const [without, withMethods] = [await run(bare), await run(plain)]
  t.strictSame([...without.failed, ...withMethods.failed], [])
  t.ok(withMethods.titles.length > without.titles.length + 4)
  const located = 'the name of a log is found by its epoch'
  t.notOk(withMethods.titles.includes(located))
  t.ok((await run(memoryLog())).titles.includes(located))
})

t.test('a shared log passes', async t => {
  t.strictSame((await run(shared(), { shared: true })).failed, [])
})

const broken: Array<[description: string, test: string, change: (log: RunLog) => Partial<RunLog>]> = [
  ['is leased before the first lease', 'a peek reports no log', log => ({
    peek: async () => ({ ...(await log.peek())!, leased: true })
  })],
  ['peeks at another epoch', 'a peek reports no log', log => ({
    peek: async () => ({ ...(await log.peek())!, epoch: 'other' })
  })],
  ['does not report its end in a peek', 'a peek reports the position', log => ({
    peek: async () => ({ ...(await log.peek())!, ended: false })
  })],
  ['ends without its last record', 'the end appends', log => ({ end: async (_last, outcome) => log.end(undefined, outcome) })],
  ['appends its last record before the end', 'the end appends', log => ({
    end: async (last, outcome) => {
      if (last !== undefined && !(await log.state()).ended) await log.append(last)
      await log.end(undefined, outcome)
    }
  })],
  ['loses the outcome', 'the end appends', log => ({ end: async last => log.end(last) })],
  ['keeps the last outcome', 'the end appends', log => {
    let outcome: string | undefined
    return {
      end: async (last, newer) => {
        outcome = newer
        await log.end(last, newer)
      },
      peek: async () => ({ ...(await log.peek())!, outcome })
    }
  }],
  ['grants a lease to all', 'a lease has one holder', () => ({ lease: () => true })],
  ['grants a lease once', 'a lease has one holder', log => {
    let granted = false
    return {
      lease: (owner, duration) => {
        if (granted) return false
        granted = true
        return log.lease(owner, duration)
      }
    }
  }],
  ['replaces its owner', 'a lease has one holder', log => {
    let owner: string | undefined
    return {
      lease: async (next, duration) => {
        const granted = await log.lease(next, duration)
        if (granted) owner = next
        return granted
      },
      peek: async () => ({ ...(await log.peek())!, owner })
    }
  }],
  ['never lets a lease expire', 'a lease expires', log => ({ lease: owner => log.lease(owner, 60_000) })],
  ['grants two requests at once', 'of several requests', log => {
    let holder: string | undefined
    return {
      lease: async (owner, duration) => {
        if (holder !== undefined && holder !== owner) return false
        await new Promise(setImmediate)
        holder = duration === 0 ? undefined : owner
        await log.lease(owner, duration)
        return true
      }
    }
  }]
]
for (const [description, test, change] of broken) {
  t.test(`a log that ${description} fails`, async t => {
    const { failed } = await run((...args) => {
      const log = plain(...args)
      return { ...log, ...change(log) }
    })
    t.ok(failed.some(title => title.startsWith(test)), `it fails: ${test}`)
  })
}

t.test('a shared log with one lease per node fails', async t => {
  const { failed } = await run(shared((_log, node) => node === 0 ? {} : { lease: () => true }), { shared: true })
  t.match(failed, [/^two nodes share one lease/])
})

t.test('a factory that does not find its names fails', async t => {
  for (const locate of [() => undefined, (epoch: string) => epoch, () => 'checkEventLog 1']) {
    const { failed } = await run(Object.assign((...args: Parameters<EventLogFactory>) => plain(...args), { locate }))
    t.match(failed, [/^the name of a log is found by its epoch/])
  }
})
