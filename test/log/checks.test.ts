import t from 'tap'
import { checkEventLog, type CheckEventLogOptions } from '../../lib/log/check-event-log.ts'
import type { EventLog, LogBatch, LogEntry, EventLogFactory } from '../../lib/log/log.ts'
import { memoryLog } from '../../lib/log/memory.ts'

// Each is its own log, and most of the time is spent waiting for what a broken one does not do.
t.jobs = 8

interface Failure { title: string, error: unknown }

/** The tests of the contract that a log fails. */
async function failuresOf (open: EventLogFactory, options?: CheckEventLogOptions): Promise<Failure[]> {
  const failures: Failure[] = []
  let run = 0
  const all = options?.shared === true ? 17 : 16
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
  if (run < all) throw new Error(`only ${run} tests of the contract were run`)
  return failures
}

/** A log in memory, with its methods in an object of which a few can be replaced. */
function plain (...given: Parameters<EventLogFactory>): EventLog {
  const log = memoryLog()(...given)
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

/** A log whose methods all answer later, as those of a store elsewhere do, in the order of the calls. */
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

/** Logs of several nodes: one store by name, and closing lets go of it here only. */
function sharedLogs (close: (log: EventLog, stops: Array<() => void>) => void): EventLogFactory {
  const store = new Map<string, EventLog>()
  return (name, history) => {
    const log = store.get(name) ?? plain(name, history)
    store.set(name, log)
    const stops: Array<() => void> = []
    return {
      ...log,
      tail (listener) {
        const stop = log.tail(listener)
        stops.push(stop)
        return stop
      },
      close: () => close(log, stops)
    }
  }
}

// Logs that keep every promise

const distantLogs = (open: EventLogFactory): EventLogFactory => (...given) => distant(open(...given))
const letGo = (_log: EventLog, stops: Array<() => void>): void => { for (const stop of stops) stop() }
const good: Array<[what: string, open: EventLogFactory, options?: CheckEventLogOptions]> = [
  ['in memory', memoryLog()],
  ['whose methods are those of an object', plain],
  ['that answers later', distantLogs(plain)],
  ['that gives one entry at a time', (...given) => {
    const log = plain(...given)
    return { ...log, read: after => log.read(after, 1) }
  }],
  ['of several nodes', sharedLogs(letGo), { shared: true }],
  ['of several nodes, that answers later', distantLogs(sharedLogs(letGo)), { shared: true }]
]
for (const [what, open, options] of good) {
  t.test(`a log ${what} passes`, async t => {
    t.strictSame(await failuresOf(open, options), [])
  })
}

// Logs that break one promise each

const ORDER = 'offsets count 1, 2, 3'
const AS_APPENDED = 'what is read is what was appended'
const PIECES = 'it is read from any position, in pieces without a gap'
const TAIL = 'a tail tells what is appended from then on'
const STOP = 'a tail that stopped tells nothing more'
const END = 'after the end nothing is appended'
const NAMES = 'two names are two logs'
const EVENTS = 'it keeps the newest events, as many as its history says'
const BYTES = 'it keeps the newest events, as many bytes as its history says'
const NOTHING = 'it keeps nothing where its history is none'
const AGE = 'what is older than its history says is gone'
const READABLE = 'what is answered or told can be read from then on'
const BUSY = 'it is not idle as long as somebody may come back'
const IDLE = 'it is idle when what it holds is too old'
const LISTEN = 'who listens first and then reads misses nothing'

type Broken = (log: EventLog, ...given: Parameters<EventLogFactory>) => Partial<EventLog>
const mapped = (log: EventLog, change: (entry: LogEntry) => LogEntry): Partial<EventLog> => ({
  read: async (after, limit) => {
    const batch = await log.read(after, limit)
    return { ...batch, entries: batch.entries.map(change) }
  }
})
const telling = (log: EventLog, change: (batch: LogBatch) => LogBatch[]): Partial<EventLog> => ({
  tail: listener => log.tail(batch => { for (const each of change(batch)) listener(each) })
})

const broken: Array<[what: string, test: string, make: Broken]> = [
  ['counts from 0', ORDER, log => ({
    append: async record => {
      const { epoch, offset } = await log.append(record)
      return { epoch, offset: offset - 1 }
    }
  })],
  ['gives offsets in the order in which appends happen to arrive', ORDER, log => {
    let n = 0
    return {
      append: async record => {
        if (n++ % 2 === 0) await new Promise(setImmediate)
        return log.append(record)
      }
    }
  }],
  ['begins a new epoch with each look', ORDER, log => ({ state: async () => ({ ...await log.state(), epoch: Math.random().toString(36).slice(2) }) })],
  ['has an epoch that is no part of an id', 'a new log is empty and open', log => ({ state: async () => ({ ...await log.state(), epoch: 'a-b' }) })],
  ['has an epoch of its name\'s making', NAMES, log => ({ state: async () => ({ ...await log.state(), epoch: 'constant' }) })],
  ['joins lines its own way', AS_APPENDED, log => mapped(log, entry => ({ ...entry, data: entry.data.replaceAll('\r\n', '\n') }))],
  ['forgets what is JSON', AS_APPENDED, log => mapped(log, entry => ({ ...entry, json: true }))],
  ['forgets the fingerprint', AS_APPENDED, log => mapped(log, ({ fingerprint: _, ...entry }) => entry)],
  ['takes empty data for none', AS_APPENDED, log => mapped(log, entry => ({ ...entry, data: entry.data || 'null' }))],
  ['keeps names as latin1', AS_APPENDED, log => mapped(log, entry => ({ ...entry, event: Buffer.from(entry.event).toString('latin1') }))],
  ['ends data at NUL', AS_APPENDED, log => mapped(log, entry => ({ ...entry, data: entry.data.replace('\u0000', '') }))],
  ['reads from a position instead of after it', PIECES, log => ({ read: (after, limit) => log.read(Math.max(0, after - 1), limit) })],
  ['reads more than it was asked for', PIECES, log => ({ read: (after, limit) => log.read(after, limit + 1) })],
  ['reads the last of them instead of the next', PIECES, log => ({
    read: async (after, limit) => {
      const batch = await log.read(after, Infinity)
      return { ...batch, entries: batch.entries.slice(-limit) }
    }
  })],
  ['says of a piece that it is all', PIECES, log => ({
    read: async (after, limit) => {
      const batch = await log.read(after, limit)
      return { ...batch, newest: batch.entries.at(-1)?.offset ?? batch.newest }
    }
  })],
  ['keeps more events than it may', EVENTS, (_log, name, history) => plain(name, { ...history, maxEvents: history.maxEvents * 2 })],
  ['keeps no bound of events at all', NOTHING, (_log, name, history) => plain(name, { ...history, maxEvents: Infinity })],
  ['keeps more bytes than it may', BYTES, (_log, name, history) => plain(name, { ...history, maxBytes: Infinity })],
  ['keeps what is too old', AGE, (_log, name, history) => plain(name, { ...history, maxAge: Infinity })],
  ['does not say what it threw away', EVENTS, log => ({ state: async () => ({ ...await log.state(), oldest: 1 }) })],
  ['counts what it holds, not what there was', AGE, log => ({
    state: async () => {
      const { oldest, newest, ...head } = await log.state()
      return { ...head, oldest, newest: newest < oldest ? 0 : newest }
    }
  })],
  ['tells a new listener what was before', TAIL, log => ({
    tail: listener => {
      listener(log.read(0, 100) as LogBatch)
      return log.tail(listener)
    }
  })],
  ['tells one of them twice', TAIL, log => telling(log, batch => batch.entries[0]?.offset === 150 ? [batch, batch] : [batch])],
  ['leaves one out', TAIL, log => telling(log, batch => [{ ...batch, entries: batch.entries.filter(({ offset }) => offset !== 150) }])],
  ['tells two of them in the wrong order', TAIL, log => {
    let kept: LogBatch | undefined
    return telling(log, batch => {
      if (batch.entries[0]?.offset === 150) {
        kept = batch
        return []
      }
      const told = kept === undefined ? [batch] : [batch, kept]
      kept = undefined
      return told
    })
  }],
  ['says that it is shorter than what it tells', TAIL, log => telling(log, batch => [{ ...batch, newest: 0 }])],
  ['says that it is longer than it is', TAIL, log => telling(log, batch => [{ ...batch, newest: 1e9 }])],
  ['cannot give yet what it told of', READABLE, log => ({
    read: async (after, limit) => {
      const batch = await log.read(after, limit)
      await new Promise(setImmediate)
      const { newest } = await log.state()
      return newest === batch.newest && after === newest - 1 ? { ...batch, entries: [] } : batch
    }
  })],
  ['is idle while it may be asked', BUSY, () => ({ isIdle: () => true })],
  ['tells with the epoch of another', TAIL, log => telling(log, batch => [{ ...batch, epoch: 'other' }])],
  ['goes on telling who stopped', STOP, log => ({
    tail: listener => {
      log.tail(listener)
      return () => {}
    }
  })],
  ['loses what comes between listening and reading', LISTEN, log => telling(log, batch => [{ ...batch, entries: batch.entries.filter(({ offset }) => offset % 10 !== 5 || offset < 20) }])],
  ['takes appends after its end', END, (log, name, history) => {
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
  ['refuses them without the code', END, log => ({
    append: async record => {
      try {
        return await log.append(record)
      } catch {
        throw new Error('ended')
      }
    }
  })],
  ['does not tell of its end', END, log => telling(log, batch => batch.ended ? [] : [batch])],
  ['tells of its end again', END, log => telling(log, batch => batch.ended ? [batch, batch] : [batch])],
  ['does not know of its end', END, log => ({ state: async () => ({ ...await log.state(), ended: false }) })],
  ['has no beginning any more after its end', END, log => ({
    state: async () => {
      const head = await log.state()
      return head.ended ? { ...head, oldest: head.newest + 1 } : head
    }
  })],
  ['loses all with its end', END, log => {
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
for (const [what, test, make] of broken) {
  t.test(`a log that ${what} fails`, async t => {
    const failures = await failuresOf((...given) => {
      const log = plain(...given)
      return { ...log, ...make(log, ...given) }
    })
    t.ok(failures.some(({ title }) => title.startsWith(test)), `it fails: ${test}`)
    for (const { error } of failures) t.ok(error instanceof Error, 'and says why')
  })
}

t.test('a log that is never idle fails', async t => {
  const failures = await failuresOf((...given) => ({ ...plain(...given), isIdle: () => false }))
  t.match(failures.map(({ title }) => title), [new RegExp(`^${IDLE}`)])
})

t.test('a log that two names share fails', async t => {
  const logs = sharedLogs(letGo)
  const failures = await failuresOf((name, history) => logs(name.replace(' other', ''), history))
  t.match(failures.map(({ title }) => title), [NAMES])
})

const brokenShared: Array<[what: string, test: string, open: EventLogFactory]> = [
  ['whose nodes have a log each', 'two nodes see one log', memoryLog()],
  ['that goes on telling a node that let go', 'one node lets go', sharedLogs(() => {})],
  ['that closes for all nodes', 'one node lets go', sharedLogs(log => log.close())]
]
for (const [what, test, open] of brokenShared) {
  t.test(`a shared log ${what} fails`, async t => {
    const failures = await failuresOf(open, { shared: true })
    t.ok(failures.some(({ title }) => title.startsWith(test)), `it fails: ${test}`)
  })
}
