import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { openEventLog } from '../../example/event-log.ts'

t.setTimeout(300_000)

interface Program { url: string, kill: () => Promise<void> }

async function start (t: Test, file: string): Promise<Program> {
  const args = ['--no-warnings', '--import', './test/setup/typescript.js', 'example/server.ts']
  const child = spawn(process.execPath, args, {
    env: { ...process.env, PORT: '0', EVENT_LOG: file },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const exit = once(child, 'exit')
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exit
  }
  t.teardown(kill)
  const { value } = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next()
  return { url: String(/http:\/\/127\.0\.0\.1:\d+/.exec(value)?.[0]), kill }
}

/** Reads a stream until it has a text. */
async function readUntil (url: string, text: string, lastEventId?: string): Promise<string> {
  const controller = new AbortController()
  const headers: HeadersInit = lastEventId === undefined ? {} : { 'last-event-id': lastEventId }
  const signal = AbortSignal.any([controller.signal, AbortSignal.timeout(30_000)])
  const { body } = await fetch(url, { headers, signal })
  const decoder = new TextDecoder()
  let received = ''
  for await (const chunk of body!) {
    received += decoder.decode(chunk as Uint8Array, { stream: true })
    if (received.includes(text)) break
  }
  controller.abort()
  return received
}

const send = async (url: string, text: string): Promise<string> => {
  const response = await fetch(`${url}/chat/lobby/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'Ada', text })
  })
  return (await response.json() as { id: string }).id
}

t.test('the examples with a file continue after kill -9, and a client resumes', async t => {
  const file = join(t.testdir(), 'events.db')
  const before = await start(t, file)
  const first = await send(before.url, 'One')
  await readUntil(`${before.url}/chat/lobby/events`, 'One')
  const missed = await send(before.url, 'Two')
  await before.kill()
  const after = await start(t, file)
  const third = await send(after.url, 'Three')
  t.strictSame([first, missed, third].map(id => id.replace(/^.*-/, '')), ['1', '2', '3'])
  t.equal(new Set([first, missed, third].map(id => id.split('-')[0])).size, 1)
  const received = await readUntil(`${after.url}/chat/lobby/events`, 'Three', first)
  t.strictSame([...received.matchAll(/"text":"(\w+)"/g)].map(([, text]) => text), ['Two', 'Three'])
})

t.test('without the variable the log is in memory, and a URL of a server is a log in its store', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  t.equal(await openEventLog(app, undefined), undefined)
  t.type(await openEventLog(app, 'redis://127.0.0.1:1'), 'function')
  t.type(await openEventLog(app, 'postgres://127.0.0.1:1/none'), 'function')
})
