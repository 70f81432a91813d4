import t from 'tap'
import { FST_SSE_CLOSING } from '../../lib/errors.ts'
import { checkEventLog, type CheckEventLogOptions } from '../../lib/log/check-event-log.ts'
import type { EventLog, LogBatch, LogEntry, EventLogFactory } from '../../lib/log/log.ts'
import { memoryLog } from '../../lib/log/memory.ts'

// Each test has its own log, and mostly waits for an action that a broken log does not perform.
t.jobs = 8

interface Failure { title: string, error: unknown }

/** Returns the tests of the contract that a log fails. */
async function failingTests (open: EventLogFactory, options?: CheckEventLogOptions): Promise<Failure[]> {
  const failures: Failure[] = []
  let run = 0
  const all = options?.shared === true ? 18 : 17
  await checkEventLog({
    test: async (title, body) => {
      run++
      try {
        await body()
      } catch (error) {
        failures.push({ title, error })
      }
    }
  }, () => open, options)
  if (run < all) throw new Error(`only ${run} tests of the contract ran`)
  return failures
}

/** Returns a log in memory as a plain object, so that a test can replace some of its methods. */
function plain (...args: Parameters<EventLogFactory>): EventLog {
  const log = memoryLog()(...args)
  return {
    append: record => log.append(record),
    read: (after, limit) => log.read(after, limit),
    state: () => log.state(),
    tail: listener => log.tail(listener),
    end: () => log.end(),
    isIdle: () => log.isIdle(),
    close: () => log.close()
  }
}

/** Returns a log whose methods answer later, in the order of the calls, as a remote store does. */
function distant (log: EventLog): EventLog {
  let last: Promise<unknown> = Promise.resolve()
  const later = <T>(act: () => T): Promise<Awaited<T>> => {
    const answer = last.then(() => new Promise(setImmediate)).then(act)
    last = answer.catch(() => {})
    return answer as Promise<Awaited<T>>
  }
  return {
    append: record => later(() => log.append(record)),
    read: (after, limit) => later(() => log.read(after, limit)),
    state: () => later(() => log.state()),
    end: () => later(() => log.end()),
    tail: listener => log.tail(batch => { setImmediate(listener, batch) }),
    isIdle: () => log.isIdle(),
    close: () => log.close()
  }
}

/** Returns logs of several nodes: one store by name, which a node closes for itself only. */
function sharedLogs (close: (log: EventLog, stops: Array<() => void>) => void): EventLogFactory {
  const store = new Map<string, EventLog>()
  return (name, history) => {
    const log = store.get(name) ?? plain(name, history)
    store.set(name, log)
    const stops: Array<() => void> = []
    const node = { closed: false }
    return {
      ...log,
      append: record => {
        if (node.closed) throw new FST_SSE_CLOSING()
        return log.append(record)
      },
      tail (listener) {
        const stop = log.tail(listener)
        stops.push(stop)
        return stop
      },
      close: () => {
        node.closed = true
        close(log, stops)
      }
    }
  }
}

// Logs that fulfil the contract

const distantLogs = (open: EventLogFactory): EventLogFactory => (...args) => distant(open(...args))
const detach = (_log: EventLog, stops: Array<() => void>): void => { for (const stop of stops) stop() }
const good: Array<[description: string, open: EventLogFactory, options?: CheckEventLogOptions]> = [
  ['in memory', memoryLog()],
  ['that is a plain object', plain],
  ['that answers later', distantLogs(plain)],
  ['that returns one entry per read', (...args) => {
    const log = plain(...args)
    return { ...log, read: after => log.read(after, 1) }
  }],
  ['of several nodes', sharedLogs(detach), { shared: true }],
  ['of several nodes, that answers later', distantLogs(sharedLogs(detach)), { shared: true }]
]
for (const [description, open, options] of good) {
  t.test(`a log ${description} passes`, async t => {
    t.strictSame(await failingTests(open, options), [])
  })
}

// Logs that break one promise each

const ORDER = 'offsets count 1, 2, 3'
const AS_APPENDED = 'a read returns the records as they were appended'
const PIECES = 'reads from any position return consecutive batches with no gaps'
const TAIL = 'a tail delivers later appends'
const STOP = 'a stopped tail delivers nothing more'
const END = 'after the end the log rejects appends'
const NAMES = 'two names open two logs'
const EVENTS = 'the log keeps the newest events up to maxEvents'
const BYTES = 'the log keeps the newest events up to maxBytes'
const NOTHING = 'with maxEvents 0 the log keeps no event'
const AGE = 'events older than maxAge are evicted'
const READABLE = 'acknowledged and delivered entries can be read'
const BUSY = 'the log is not idle while a client may reconnect'
const IDLE = 'the log is idle when its entries have expired'
const CLOSE = 'a closed log settles the appends under way'
const LISTEN = 'tailing before reading misses no entry'

type Broken = (log: EventLog, ...args: Parameters<EventLogFactory>) => Partial<EventLog>
const mapped = (log: EventLog, change: (entry: LogEntry) => LogEntry): Partial<EventLog> => ({
  read: async (after, limit) => {
    const batch = await log.read(after, limit)
    return { ...batch, entries: batch.entries.map(change) }
  }
})
const deliverChanged = (log: EventLog, change: (batch: LogBatch) => LogBatch[]): Partial<EventLog> => ({
  tail: listener => log.tail(batch => { for (const each of change(batch)) listener(each) })
})

const broken: Array<[description: string, test: string, make: Broken]> = [
  ['counts from 0', ORDER, log => ({
    append: async record => {
      const { epoch, offset } = await log.append(record)
      return { epoch, offset: offset - 1 }
    }
  })],
  ['assigns offsets in the order in which appends arrive', ORDER, log => {
    let n = 0
    return {
      append: async record => {
        if (n++ % 2 === 0) await new Promise(setImmediate)
        return log.append(record)
      }
    }
  }],
  ['has a new epoch on each read of the state', ORDER,
    log => ({ state: async () => ({ ...await log.state(), epoch: Math.random().toString(36).slice(2) }) })],
  ['has an epoch that does not fit into an id', 'a new log is empty and open',
    log => ({ state: async () => ({ ...await log.state(), epoch: 'a-b' }) })],
  ['derives its epoch from its name', NAMES,
    log => ({ state: async () => ({ ...await log.state(), epoch: 'constant' }) })],
  ['changes line ends', AS_APPENDED,
    log => mapped(log, entry => ({ ...entry, data: entry.data.replaceAll('\r\n', '\n') }))],
  ['loses the json flag', AS_APPENDED, log => mapped(log, entry => ({ ...entry, json: true }))],
  ['loses the fingerprint', AS_APPENDED, log => mapped(log, ({ fingerprint: _, ...entry }) => entry)],
  ['replaces empty data', AS_APPENDED, log => mapped(log, entry => ({ ...entry, data: entry.data || 'null' }))],
  ['stores names as latin1', AS_APPENDED,
    log => mapped(log, entry => ({ ...entry, event: Buffer.from(entry.event).toString('latin1') }))],
  ['ends data at NUL', AS_APPENDED,
    log => mapped(log, entry => ({ ...entry, data: entry.data.replace('\u0000', '') }))],
  ['reads from a position instead of after it', PIECES,
    log => ({ read: (after, limit) => log.read(Math.max(0, after - 1), limit) })],
  ['returns more entries than the limit', PIECES, log => ({ read: (after, limit) => log.read(after, limit + 1) })],
  ['returns the last entries instead of the next', PIECES, log => ({
    read: async (after, limit) => {
      const batch = await log.read(after, Infinity)
      return { ...batch, entries: batch.entries.slice(-limit) }
    }
  })],
  ['reports the end of a batch as the newest offset', PIECES, log => ({
    read: async (after, limit) => {
      const batch = await log.read(after, limit)
      return { ...batch, newest: batch.entries.at(-1)?.offset ?? batch.newest }
    }
  })],
  ['keeps more events than maxEvents', EVENTS,
    (_log, name, history) => plain(name, { ...history, maxEvents: history.maxEvents * 2 })],
  ['ignores maxEvents', NOTHING, (_log, name, history) => plain(name, { ...history, maxEvents: Infinity })],
  ['ignores maxBytes', BYTES, (_log, name, history) => plain(name, { ...history, maxBytes: Infinity })],
  ['ignores maxAge', AGE, (_log, name, history) => plain(name, { ...history, maxAge: Infinity })],
  ['does not report evicted events', EVENTS, log => ({ state: async () => ({ ...await log.state(), oldest: 1 }) })],
  ['reports newest 0 after evicting all events', AGE, log => ({
    state: async () => {
      const { oldest, newest, ...state } = await log.state()
      return { ...state, oldest, newest: newest < oldest ? 0 : newest }
    }
  })],
  ['delivers earlier entries to a new listener', TAIL, log => ({
    tail: listener => {
      listener(log.read(0, 100) as LogBatch)
      return log.tail(listener)
    }
  })],
  ['delivers an entry twice', TAIL,
    log => deliverChanged(log, batch => batch.entries[0]?.offset === 150 ? [batch, batch] : [batch])],
  ['skips an entry', TAIL,
    log => deliverChanged(log, batch => [{ ...batch, entries: batch.entries.filter(({ offset }) => offset !== 150) }])],
  ['delivers two entries in the wrong order', TAIL, log => {
    let kept: LogBatch | undefined
    return deliverChanged(log, batch => {
      if (batch.entries[0]?.offset === 150) {
        kept = batch
        return []
      }
      const batches = kept === undefined ? [batch] : [batch, kept]
      kept = undefined
      return batches
    })
  }],
  ['reports a newest offset below its entries', TAIL, log => deliverChanged(log, batch => [{ ...batch, newest: 0 }])],
  ['reports a newest offset above its entries', TAIL, log => deliverChanged(log, batch => [{ ...batch, newest: 1e9 }])],
  ['cannot read an entry yet that it has delivered', READABLE, log => ({
    read: async (after, limit) => {
      const batch = await log.read(after, limit)
      await new Promise(setImmediate)
      const { newest } = await log.state()
      return newest === batch.newest && after === newest - 1 ? { ...batch, entries: [] } : batch
    }
  })],
  ['is idle while a client may reconnect', BUSY, () => ({ isIdle: () => true })],
  ['delivers with another epoch', TAIL, log => deliverChanged(log, batch => [{ ...batch, epoch: 'other' }])],
  ['delivers to a stopped tail', STOP, log => ({
    tail: listener => {
      log.tail(listener)
      return () => {}
    }
  })],
  ['loses entries between tailing and reading', LISTEN,
    log =>
      deliverChanged(log, batch => [{
        ...batch,
        entries: batch.entries.filter(({ offset }) =>
          offset % 10 !== 5 || offset < 20
        )
      }])],
  ['accepts appends after its close', CLOSE, () => ({ close: () => {} })],
  ['accepts appends after its end', END, (log, name, history) => {
    const more = plain(name, history)
    let ended = false
    return {
      append: record => (ended ? more : log).append(record),
      end: async () => {
        ended = true
        await log.end()
      }
    }
  }],
  ['rejects appends after its end without the code', END, log => ({
    append: async record => {
      try {
        return await log.append(record)
      } catch {
        throw new Error('ended')
      }
    }
  })],
  ['does not deliver its end', END, log => deliverChanged(log, batch => batch.ended ? [] : [batch])],
  ['delivers its end twice', END, log => deliverChanged(log, batch => batch.ended ? [batch, batch] : [batch])],
  ['does not report its end', END, log => ({ state: async () => ({ ...await log.state(), ended: false }) })],
  ['reports no oldest offset after its end', END, log => ({
    state: async () => {
      const state = await log.state()
      return state.ended ? { ...state, oldest: state.newest + 1 } : state
    }
  })],
  ['loses its entries at its end', END, log => {
    let ended = false
    return {
      end: async () => {
        await log.end()
        ended = true
      },
      read: async (after, limit) => ({ ...await log.read(after, limit), ...ended && { entries: [] } })
    }
  }]
]
for (const [description, test, make] of broken) {
  t.test(`a log that ${description} fails`, async t => {
    const failures = await failingTests((...args) => {
      const log = plain(...args)
      return { ...log, ...make(log, ...args) }
    })
    t.ok(failures.some(({ title }) => title.startsWith(test)), `it fails: ${test}`)
    for (const { error } of failures) t.ok(error instanceof Error, 'with an error')
  })
}

t.test('a log that is never idle fails', async t => {
  const failures = await failingTests((...args) => ({ ...plain(...args), isIdle: () => false }))
  t.match(failures.map(({ title }) => title), [new RegExp(`^${IDLE}`)])
})

t.test('a log that two names share fails', async t => {
  const logs = sharedLogs(detach)
  const failures = await failingTests((name, history) => logs(name.replace(' other', ''), history))
  t.match(failures.map(({ title }) => title), [NAMES])
})

const brokenShared: Array<[description: string, test: string, open: EventLogFactory]> = [
  ['with one log per node', 'two nodes share one log', memoryLog()],
  ['that delivers to a node that closed it', 'one node closes the log', sharedLogs(() => {})],
  ['that closes for all nodes', 'one node closes the log', sharedLogs(log => log.close())]
]
for (const [description, test, open] of brokenShared) {
  t.test(`a shared log ${description} fails`, async t => {
    const failures = await failingTests(open, { shared: true })
    t.ok(failures.some(({ title }) => title.startsWith(test)), `it fails: ${test}`)
  })
}
