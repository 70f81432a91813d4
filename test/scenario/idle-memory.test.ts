import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { open, type RawClient } from '../setup/raw.ts'
import { within } from '../setup/within.ts'

const FIRST = 100
const CONNECTIONS = 1_000

interface Server { ports: { streams: number, plain: number }, ask: (question: 'heap' | 'channels') => Promise<number> }

/** Starts the servers in a process of their own: the clients and the test runner are not counted. */
async function start (t: Test): Promise<Server> {
  const { NODE_OPTIONS: _options, NODE_V8_COVERAGE: _coverage, ...env } = process.env
  const server = fork(fileURLToPath(new URL('../setup/idle-server.js', import.meta.url)), {
    env,
    execArgv: ['--expose-gc']
  })
  t.teardown(() => server.disconnect())
  const answer = async <T>(): Promise<T> => (await within('an answer', once(server, 'message')) as [T])[0]
  const ports = await answer<Server['ports']>()
  return {
    ports,
    ask: question => {
      server.send(question)
      return answer()
    }
  }
}

/** Returns the bytes that each open connection takes. */
async function bytesOf (port: number, ask: Server['ask']): Promise<number> {
  const join = (count: number): Promise<RawClient[]> =>
    Promise.all(Array.from({ length: count }, async () => {
      const client = await open(port)
      await within('a comment', client.until('\n:\n\n'))
      return client
    }))
  // The first ones pay for compiled and cached code.
  const first = await join(FIRST)
  const before = await ask('heap')
  const clients = await join(CONNECTIONS)
  const bytes = (await ask('heap') - before) / CONNECTIONS
  for (const { socket } of [...first, ...clients]) socket.destroy()
  return bytes
}

t.test('L3: an idle stream keeps little more than a response of Node', async t => {
  const { ports, ask } = await start(t)
  const [stream, plain] = [await bytesOf(ports.streams, ask), await bytesOf(ports.plain, ask)].map(Math.round)
  t.comment(`${stream} bytes, ${plain} of them by Node`)
  t.ok(stream! - plain! < 3_200, `${stream! - plain!} bytes more than a response of Node`)
})

t.test('an idle channel takes less than a kilobyte', async t => {
  const { ask } = await start(t)
  const each = await ask('channels')
  t.comment(`${Math.round(each)} bytes`)
  t.ok(each < 1_024, `${Math.round(each)} bytes for each channel`)
})
