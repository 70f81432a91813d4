import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import t from 'tap'
import { ControlLog } from '../../lib/server/control-log.ts'
import type { EventLog, LogEntry } from '../../lib/log/log.ts'
import { dice, numbered, RemoteLog } from '../setup/remote-log.ts'
import { within } from '../setup/within.ts'

/** A node on a log: the messages that it received, and its log lines. */
function nodeOn (log: EventLog, listener: (message: LogEntry) => void = () => {}) {
  const heard: string[] = []
  const lines: unknown[] = []
  const control = new ControlLog({
    log,
    listener: message => {
      heard.push(message.data)
      listener(message)
    },
    logger: { error: (...line: unknown[]) => { lines.push(line) } } as unknown as FastifyBaseLogger
  })
  /** Settles when it has received this number of messages. */
  const until = async (count: number): Promise<string[]> => {
    while (heard.length < count) await turn()
    return heard
  }
  return { control, heard, lines, until }
}

/** A log that fails when the test says so. */
const failing = (log: RemoteLog, error: { thrown: Error | undefined }): EventLog => ({
  append: record => log.append(record),
  read: (after, limit) => {
    if (error.thrown !== undefined) throw error.thrown
    return log.read(after, limit)
  },
  state: () => log.state(),
  tail: listener => {
    if (error.thrown !== undefined) throw error.thrown
    return log.tail(listener)
  },
  end: () => log.end(),
  isIdle: () => log.isIdle(),
  close: () => log.close()
})

const upTo = (last: number, first = 1): string[] =>
  Array.from({ length: last - first + 1 }, (_, index) => String(first + index))

for (const seed of [undefined, 1, 2, 3]) {
  t.test(`R8: each message that is sent is received once, in order, and no earlier one; seed ${seed}`, async t => {
    const log = new RemoteLog({}, seed === undefined ? undefined : dice(seed))
    const { control, until, lines } = nodeOn(log)
    await log.append(numbered(0))
    control.start()
    // It starts at the position of the log at the time of its call.
    await log.state()
    await turn()
    for (let n = 1; n <= 250; n++) {
      control.send(numbered(n))
      if (n % 7 === 0) await turn()
    }
    t.strictSame(await within('all of it', until(250)), upTo(250))
    await turn()
    t.strictSame(lines, [])
    control.close()
    t.equal(log.listeners, 0)
  })
}

t.test('a malformed message is logged and skipped, and the next one is received at once', async t => {
  const log = new RemoteLog()
  const wrong = new Error('no key')
  const { control, until, lines } = nodeOn(log, ({ data }) => { if (data === '2') throw wrong })
  control.start()
  await turn()
  for (let n = 1; n <= 3; n++) await control.send(numbered(n))
  t.strictSame(await within('all of it', until(3)), upTo(3))
  t.strictSame(lines, [[{ err: wrong, offset: 2 }, 'sse message of another node is malformed']])
  control.close()
})

t.test('after a failure the log is read again, from the last message on', async t => {
  const log = new RemoteLog()
  const error = { thrown: undefined as Error | undefined }
  const { control, until, heard, lines } = nodeOn(failing(log, error))
  control.start()
  await turn()
  await control.send(numbered(1))
  await within('the first', until(1))
  const away = error.thrown = new Error('away')
  await control.send(numbered(2))
  while (lines.length === 0) await turn()
  t.equal(log.listeners, 0)
  await control.send(numbered(3))
  // Its pause does not keep a process: this does.
  const alive = setInterval(() => {}, 1_000)
  // It cannot be listened to, either.
  while (lines.length === 1) await turn()
  error.thrown = undefined
  t.strictSame(await within('the rest', until(3)), upTo(3))
  clearInterval(alive)
  t.strictSame(lines,
    Array.from({ length: 2 }, () => [{ err: away }, 'sse messages of other nodes cannot be read: retrying']))
  control.close()
  await turn()
  t.equal(heard.length, 3)
})

t.test('in a new epoch the messages are read from the beginning', async t => {
  for (const seed of [undefined, 4, 5]) {
    const log = new RemoteLog({}, seed === undefined ? undefined : dice(seed))
    const { control, until, lines } = nodeOn(log)
    control.start()
    await log.state()
    await turn()
    for (let n = 1; n <= 5; n++) await control.send(numbered(n))
    await within('the first', until(5))
    await log.lose()
    for (let n = 6; n <= 7; n++) await control.send(numbered(n))
    t.strictSame(await within('the rest', until(7)), upTo(7))
    t.strictSame(lines, [])
    control.close()
  }
})

t.test('messages that were evicted before they were read are logged as missed', async t => {
  const log = new RemoteLog({ maxEvents: 2 })
  const error = { thrown: undefined as Error | undefined }
  const { control, until, lines } = nodeOn(failing(log, error))
  control.start()
  await turn()
  await control.send(numbered(1))
  await within('the first', until(1))
  error.thrown = new Error('away')
  for (let n = 2; n <= 6; n++) await control.send(numbered(n))
  while (lines.length === 0) await turn()
  error.thrown = undefined
  const alive = setInterval(() => {}, 1_000)
  t.strictSame(await within('what is left', until(3)), ['1', '5', '6'])
  clearInterval(alive)
  t.strictSame(lines.at(-1), [{ missed: 3 },
    'sse messages of other nodes were evicted from the log before they were read'])
  control.close()
})

t.test('missed messages are logged also if the log keeps no entry', async t => {
  const log = new RemoteLog({ maxEvents: 0 })
  const { control, heard, lines } = nodeOn(log)
  control.start()
  await turn()
  await control.send(numbered(1))
  while (lines.length === 0) await turn()
  t.strictSame(lines, [[{ missed: 1 }, 'sse messages of other nodes were evicted from the log before they were read']])
  t.strictSame(heard, [])
  control.close()
})

t.test('after close no message is read, and a failure of the event log is not logged', async t => {
  for (const method of ['state', 'read'] as const) {
    for (const fails of [true, false]) {
      const log = new RemoteLog()
      let answer!: () => void
      const called = new Promise<void>(resolve => {
        const ask = log[method].bind(log) as (...args: unknown[]) => unknown
        log[method] = (async (...args: unknown[]) => {
          resolve()
          await new Promise<void>(resolve => { answer = resolve })
          if (fails) throw new Error('closed')
          return ask(...args)
        }) as never
      })
      const { control, heard, lines } = nodeOn(log)
      control.start()
      await turn()
      if (method === 'read') await control.send(numbered(1))
      await called
      if (method === 'state') await control.send(numbered(1))
      control.close()
      answer()
      for (let turns = 0; turns < 3; turns++) await turn()
      t.strictSame([heard, lines], [[], []], method)
    }
  }
})

t.test('close stops the retry timer', async t => {
  const log = new RemoteLog()
  const timers = (): number => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
  const before = timers()
  const { control, lines } = nodeOn(failing(log, { thrown: new Error('away') }))
  control.start()
  t.equal(lines.length, 1)
  control.close()
  t.equal(timers(), before)
})

t.test('a logger that throws does not stop the messages, and leaves no rejection', async t => {
  const remote = new RemoteLog({ maxEvents: 2 })
  const error: { thrown: Error | undefined } = { thrown: undefined }
  const heard: string[] = []
  const control = new ControlLog({
    log: failing(remote, error),
    listener: ({ data }) => {
      heard.push(data)
      throw new Error('unreadable')
    },
    logger: { error: () => { throw new Error('serializer') } } as unknown as FastifyBaseLogger
  })
  control.start()
  await turn()
  await control.send(numbered(1))
  await turn()
  error.thrown = new Error('away')
  for (let n = 2; n <= 5; n++) await control.send(numbered(n))
  error.thrown = undefined
  while (heard.length < 3) await turn()
  t.strictSame(heard, ['1', '4', '5'])
  control.close()
})
