import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { createParser } from 'eventsource-parser'
import t, { type Test } from 'tap'
import { sqliteLog } from '../../lib/sqlite.ts'
import { chances } from '../setup/chances.ts'
import { openDatabase } from '../setup/sqlite.ts'
import { until } from '../setup/until.ts'

// The number of kills: `npm run kill` does a hundred.
const KILLS = Number(process.env.KILLS ?? 3)
t.setTimeout(60_000 + KILLS * 10_000)

interface Child {
  process: ChildProcess
  /** Lets the program open the file. Resolves to its first line. */
  open: () => Promise<string>
}

/** Starts a program of `test/setup`. */
function start (t: Test, program: string, ...args: string[]): Child {
  const child = spawn(process.execPath, ['--no-warnings', '--import', './test/setup/typescript.js',
    `test/setup/${program}.ts`, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => kill(child))
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const open = async (): Promise<string> => {
    child.stdin.end('\n')
    const { value } = await lines.next()
    if (value === undefined) throw new Error(`${program} ended without a line`)
    return value
  }
  return { process: child, open }
}

const sizeOf = (file: string): number => existsSync(file) ? statSync(file).size : 0

async function kill (child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

/** A client that reconnects with its last id, as a browser does. */
class Client {
  readonly #name: string
  readonly received: Array<{ id: string, data: string }> = []
  readonly systemEvents: string[] = []
  done = false
  #lastId: string | undefined

  constructor (name: string) {
    this.#name = name
  }

  /** Reads a stream until it breaks, or until its last event. */
  async read (address: string): Promise<void> {
    const parser = createParser({
      onEvent: ({ event, id, data }) => {
        if (event?.startsWith('sse.') === true) this.systemEvents.push(event)
        else if (event === 'last') this.done = true
        else this.received.push({ id: String(id), data })
        this.#lastId = id
      }
    })
    const headers: HeadersInit = this.#lastId === undefined ? {} : { 'last-event-id': this.#lastId }
    try {
      const { body } = await fetch(`${address}/${this.#name}`, { headers })
      const decoder = new TextDecoder()
      for await (const chunk of body!) {
        parser.feed(decoder.decode(chunk as Uint8Array, { stream: true }))
        if (this.done) return
      }
    } catch {
      // The server was killed.
    }
  }
}

t.test(`R8: ${KILLS} times kill -9 in mid-publish: all acknowledged events are there, and clients resume`, async t => {
  const dice = chances(7)
  const folder = t.testdir()
  const [file, diary] = [join(folder, 'events.db'), join(folder, 'diary')]
  const clients = ['a', 'b'].map(name => new Client(name))
  const next = (round: number): Child => start(t, 'killed-server', file, diary, round < KILLS ? '20' : '0')
  let server = next(0)
  for (let round = 0; round < KILLS; round++) {
    // The next server loads its modules while this one runs.
    const after = next(round + 1)
    const before = sizeOf(diary)
    const address = await server.open()
    const reading = clients.map(client => client.read(address))
    await until('events of this process', () => sizeOf(diary) > before)
    await pause(dice(60))
    await kill(server.process)
    await Promise.all(reading)
    server = after
  }
  const address = await server.open()
  await Promise.all(clients.map(client => client.read(address)))

  const acknowledged = readFileSync(diary, 'latin1').trim().split('\n').map(line => line.split(' '))
  for (const [index, { received, systemEvents, done }] of clients.entries()) {
    t.ok(done, 'the client received the last event')
    t.strictSame(systemEvents.filter(event => event !== 'sse.position'), [], 'no reset, and no gap')
    const epochs = new Set(received.map(({ id }) => id.split('-')[0]))
    t.equal(epochs.size, 1, 'one epoch')
    t.ok(received.every(({ id }, n) => id.endsWith(`-${n + 1}`)), 'each event once, in order, with no gap')
    const byId = new Map(received.map(({ id, data }) => [id, data]))
    const mine = acknowledged.filter(([name]) => name === 'ab'[index])
    t.ok(mine.length >= KILLS)
    const lost = mine.filter(([, id, ...data]) => byId.get(id!) !== data.join(' '))
    t.strictSame(lost, [], 'no acknowledged event is lost')
    t.comment(`${mine.length} acknowledged, ${received.length} received`)
  }
})

t.test('R8: a process has the file alone, and after kill -9 it is free at once', async t => {
  const file = join(t.testdir(), 'events.db')
  const LEASE = 1_500
  const { process: child, open } = start(t, 'held-file', file, String(LEASE))
  const epoch = await open()
  const database = openDatabase(file)
  t.teardown(() => database.close())
  t.throws(() => sqliteLog(database), { code: 'FST_SSE_LOG_IN_USE', statusCode: 503 })
  await kill(child)
  const log = sqliteLog(database)('news', { maxEvents: 100, maxBytes: 1_000_000, maxAge: 60_000 })
  t.strictSame(await log.state(), { epoch, oldest: 1, newest: 2, ended: false })
  t.match(await log.peek?.(), { owner: 'killed', ended: false })

  await until('the end of the lease', async () => (await log.peek?.())?.leased === false)
  t.equal(await log.lease?.('other', 60_000), true, 'another process may end the run')
  await until('the members leave', async () => (await log.members?.())?.length === 0)
  const { entries } = await log.read(1, 10)
  t.strictSame(entries.map(({ event, data }) => `${event} ${data}`), ['join "a"', 'leave "a"'])
  log.close()
})
