import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import t, { type Test } from 'tap'
import { env } from '../setup/project.ts'
import { absent, REDIS } from '../setup/programs.ts'
import { open, type RawClient } from '../setup/raw.ts'
import { freePort, RedisServer } from '../setup/redis.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

t.setTimeout(300_000)

// Processes of one machine that share a port and a channel in Redis: workers of node:cluster and of PM2.

const MEMBER = resolve('test/setup/servers/member.js')
const PM2 = resolve('node_modules/pm2/bin')

/** A client of one of the processes. */
interface Reader { client: RawClient, pid: string }

/** The clients and publishers of a port, which do not choose their process. */
class Machine {
  readonly port: number
  readonly #t: Test
  readonly publishers = new Set<string>()
  #published = 0

  constructor (t: Test, port: number) {
    this.#t = t
    this.port = port
  }

  async open (lastEventId?: string): Promise<Reader> {
    const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId }
    const client = await open(this.port, { path: '/', headers })
    this.#t.teardown(() => client.socket.destroy())
    const head = await within('the head', client.until('id: '))
    return { client, pid: /x-process: (\d+)/i.exec(head)![1]! }
  }

  /** Opens two clients of each of two processes. */
  async openAll (): Promise<Reader[]> {
    const readers: Reader[] = []
    const pids = (): string[] => [...new Set(readers.map(({ pid }) => pid))]
    while (pids().length < 2 || pids().some(pid => readers.filter(reader => reader.pid === pid).length < 2)) {
      if (readers.length > 50) throw new Error(`the process ${pids().join(', ')} gets all connections`)
      readers.push(await this.open())
    }
    return readers
  }

  async publish (count: number): Promise<string> {
    let id = ''
    for (let n = 0; n < count; n++) {
      const response = await fetch(`http://127.0.0.1:${this.port}/`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', connection: 'close' },
        body: JSON.stringify({ n: ++this.#published })
      })
      this.publishers.add(response.headers.get('x-process')!)
      id = await response.text()
    }
    return id
  }

  /** Waits until the port is served by two processes that are not of the given ones, and returns them. */
  async ready (before: readonly string[] = []): Promise<string[]> {
    const pids = new Set<string>()
    await until('two processes', async () => {
      const response = await fetch(`http://127.0.0.1:${this.port}/`, { method: 'HEAD', headers: { connection: 'close' } })
        .catch(() => undefined)
      const pid = response?.headers.get('x-process')
      if (pid != null && !before.includes(pid)) pids.add(pid)
      return pids.size === 2
    })
    return [...pids]
  }
}

const numbersOf = ({ client }: Reader): number[] =>
  [...client.received.matchAll(/^data: (\d+)$/gm)].map(([, n]) => Number(n))
const idsOf = ({ client }: Reader): string[] => [...client.received.matchAll(/^id: (\S+)$/gm)].map(([, id]) => id!)
const range = (last: number, first = 1): number[] => Array.from({ length: last - first + 1 }, (_, n) => first + n)

/** Publishes through both processes. Each client of both receives all events once, in one order, under the same ids. */
async function checkDelivery (t: Test, machine: Machine): Promise<Reader[]> {
  const readers = await machine.openAll()
  const last = await machine.publish(20)
  t.equal(machine.publishers.size, 2)
  for (const reader of readers) {
    await within('the last event', reader.client.until(`id: ${last}\ndata: 20\n\n`))
    t.strictSame(numbersOf(reader), range(20))
    t.strictSame(idsOf(reader), idsOf(readers[0]!))
  }
  return readers
}

/** Starts a process that ends with the test, and with this process. */
function start (t: Test, args: readonly string[], options: SpawnOptions, signal: NodeJS.Signals): ChildProcess {
  const child = spawn(process.execPath, args, options)
  const kill = (): void => { child.kill(signal) }
  process.once('exit', kill)
  t.teardown(async () => {
    process.removeListener('exit', kill)
    await end(child, signal)
  })
  return child
}

/** Ends a process that the test has started. */
async function end (child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill(signal)
  await within('the exit', exit)
}

const isAlive = (pid: string): boolean => {
  try {
    return process.kill(Number(pid), 0)
  } catch {
    return false
  }
}

t.test('R8: the workers of node:cluster share a channel in Redis', { skip: absent(REDIS) }, async t => {
  const redis = await RedisServer.start(t)
  const port = await freePort()
  const primary = start(t, [MEMBER], {
    env: { ...env, PORT: String(port), REDIS_PORT: String(redis.port) },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc']
  }, 'SIGKILL')
  const machine = new Machine(t, port)
  await machine.ready()
  const readers = await checkDelivery(t, machine)

  // A worker dies: its clients resume on the other one.
  const { pid } = readers[0]!
  const lost = readers.filter(reader => reader.pid === pid)
  // Until the primary process knows, it sends connections to the dead worker.
  const ends: Array<Promise<unknown>> = [once(primary, 'message'), ...lost.map(({ client }) => client.closed)]
  process.kill(Number(pid), 'SIGKILL')
  await within('the end of the worker', Promise.all(ends))
  const last = await machine.publish(5)
  for (const before of readers) {
    const reader = lost.includes(before) ? await machine.open(idsOf(before).at(-1)) : before
    await within('the last event', reader.client.until(`id: ${last}\ndata: 25\n\n`))
    t.strictSame([...numbersOf(before).slice(0, 20), ...numbersOf(reader).slice(-5)], range(25))
    t.not(reader.pid, pid)
  }
  primary.disconnect()
  await within('the exit', once(primary, 'exit'))
  await until('the end of the workers', () => readers.every(({ pid }) => !isAlive(pid)))
})

t.test('R8: the workers of PM2 share a channel in Redis, also while PM2 reloads them', { skip: absent(REDIS) }, async t => {
  const redis = await RedisServer.start(t)
  const port = await freePort()
  // A short path, because PM2 has sockets in this folder.
  const home = mkdtempSync(join(tmpdir(), 'pm2-'))
  t.teardown(() => rmSync(home, { recursive: true, force: true }))
  const ecosystem = join(home, 'ecosystem.config.cjs')
  const app = { name: 'member', script: MEMBER, instances: 2, exec_mode: 'cluster', wait_ready: true }
  writeFileSync(ecosystem, `module.exports = ${JSON.stringify({ apps: [app] })}`)
  const options: SpawnOptions = { stdio: 'ignore', env: { ...env, PM2_HOME: home, PORT: String(port), REDIS_PORT: String(redis.port) } }
  // The daemon is this process, so none is left behind.
  const daemon = start(t, [join(PM2, 'pm2-runtime'), 'start', ecosystem], options, 'SIGINT')
  const machine = new Machine(t, port)
  await machine.ready()
  const readers = await checkDelivery(t, machine)

  const reload = start(t, [join(PM2, 'pm2'), 'reload', 'member'], options, 'SIGKILL')
  await Promise.all(readers.map(({ client }) => within('the end of the stream', client.closed, 60_000)))
  if (reload.exitCode === null) await within('the reload', once(reload, 'exit'), 60_000)
  const old = [...new Set([...machine.publishers, ...readers.map(({ pid }) => pid)])]
  const pids = [...old, ...await machine.ready(old)]
  const last = await machine.publish(5)
  for (const before of readers) {
    const reader = await machine.open(idsOf(before).at(-1))
    await within('the last event', reader.client.until(`id: ${last}\ndata: 25\n\n`))
    t.strictSame([...numbersOf(before), ...numbersOf(reader)], range(25))
  }
  t.equal(pids.length, 4)
  await end(daemon, 'SIGINT')
  t.strictSame(pids.filter(isAlive), [])
})
