import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { injectStream, openStreams } from '../../lib/testing.ts'
import { bodyOf, DocumentPrograms, open, openPage } from '../setup/document-programs.ts'
import { absent, CHROMIUM } from '../setup/programs.ts'
import { copyOf } from '../setup/sqlite.ts'
import { until } from '../setup/until.ts'

t.setTimeout(300_000)

const readme = new DocumentPrograms('README.md')

// The file of the event log is in a folder of this test. Without node:sqlite, the program opens it with libsql, which
// has the API of better-sqlite3.
const EVENT_LOG = join(t.testdir(), 'events.db')
process.env.EVENT_LOG = EVENT_LOG
for (const { file, code } of readme.programs.filter(({ code }) => code.includes('sqliteLog('))) {
  t.match(code, "sqliteLog('events.db')")
  writeFileSync(file, readFileSync(file, 'utf8').replace("'events.db'",
    process.getBuiltinModule('node:sqlite') === undefined
      ? "new (await import('libsql')).default(process.env.EVENT_LOG)"
      : 'process.env.EVENT_LOG'))
}

const TEN = Array.from({ length: 10 },
  (_, n) => `data: {"status":200,"resMsg":"server sent event message: ${n + 1}"}\n\n`).join('')

readme.run({
  'A server and a client': [async (t, app) => {
    t.equal(await bodyOf(app, '/sse'), TEN)
    t.ok(TEN.startsWith(readme.block('A server and a client', 'text')), 'the text is the first event')
  }],
  'Typed events': [async (t, app) => {
    const id = '0b5a9c1e-7f0e-4a55-9d8e-3f6f0f1b2c3d'
    t.equal(await bodyOf(app, '/orders'), `event: created\nid: 1\ndata: {"id":"${id}","total":12.5}\n\n` +
      `event: note\ndata: line one\ndata: line two\n\nevent: paid\nid: 2\ndata: {"id":"${id}"}\n\n`)
  }],
  'When the client disconnects': [async (t, app) => {
    const stream = await injectStream(app, { method: 'POST', url: '/chat' })
    t.match(await stream.take(2), [{ event: 'token', data: 'Once' }, { event: 'token', data: ' upon' }])
    await stream.disconnect()
    t.strictSame(openStreams(app), [])
    const whole = await injectStream(app, { method: 'POST', url: '/chat' })
    t.equal((await whole.takeAll()).map(({ data }) => data).join(''), 'Once upon a time')
  }],
  'Auth and CORS': [async (t, app) => {
    const origin = 'https://app.example'
    const allowed = await app.inject({ url: '/private', headers: { authorization: 'Bearer secret', origin } })
    t.match(allowed, {
      statusCode: 200,
      body: 'data: hello\n\n',
      headers: { 'access-control-allow-origin': origin, 'access-control-allow-credentials': 'true' }
    })
    t.match(await app.inject({ url: '/private', headers: { origin } }), { statusCode: 401, body: 'Log in first' })
    const preflight = await app.inject({
      method: 'OPTIONS',
      url: '/private',
      headers: {
        origin,
        'access-control-request-method': 'GET',
        'access-control-request-headers': 'authorization, last-event-id'
      }
    })
    t.match(preflight, { statusCode: 204, headers: { 'access-control-allow-headers': /authorization, last-event-id/ } })
  }],
  'A channel with resume': [async (t, app) => {
    const stream = await injectStream(app, '/notices/ann')
    const publish = async (user: string, text: string): Promise<void> => {
      await app.inject({ method: 'POST', url: `/notices/${user}`, payload: { text } })
    }
    await publish('ann', 'one')
    await publish('bob', 'not for ann')
    t.match(await stream.take(1), [{ event: 'notice', data: '{"text":"one"}' }])
    await stream.disconnect()
    for (const text of ['two', 'three']) await publish('ann', text)
    const again = await stream.reconnect()
    t.match(await again.take(2), [{ data: '{"text":"two"}' }, { data: '{"text":"three"}' }])
  }],
  'Where channels keep events': [async (t, app) => {
    const publish = (to: FastifyInstance, data: string): Promise<unknown> => to.sse.channel('news').publish({ data })
    const id = await publish(app, 'One')
    await app.close()
    process.env.EVENT_LOG = copyOf(EVENT_LOG)
    const { app: next } = await readme.loadAgain<{ app: FastifyInstance }>('sqliteLog(')
    t.teardown(() => next.close())
    next.get('/news', (_request, reply) => reply.sse(next.sse.channel('news')))
    await publish(next, 'Two')
    const client = await open(t, next, '/news', { 'last-event-id': id })
    t.match(await client.until(': live\n\n'), /\ndata: Two\n\n: live\n\n$/)
  }]
})

t.test('the page runs in a browser', { skip: absent(CHROMIUM) }, async t => {
  const { app } = await readme.loadAgain<{ app: FastifyInstance }>("'/sse'")
  t.teardown(() => app.close())
  const page = await openPage(t, await app.listen({ port: 0, host: '127.0.0.1' }))
  await page.setContent(readme.block('A server and a client', 'html'))
  await page.waitForSelector('li:nth-child(10)')
  t.equal(await page.textContent('li:nth-child(10)'), 'server sent event message: 10')
})

/** Returns a port that is free. The programs of the README have a fixed one. */
async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Starts the first program in a process, as a reader pastes it into a file, and returns its address. */
async function startPasted (t: Test, file: string, ...options: string[]): Promise<string> {
  const folder = `${readme.folder}/pasted`
  mkdirSync(folder, { recursive: true })
  const port = await freePort()
  const { code } = readme.programs[0]!
  writeFileSync(`${folder}/${file}`, code.replace('port: 3000', `port: ${port}`))
  writeFileSync(`${folder}/index.html`, readme.block('A server and a client', 'html'))
  const server = spawn(process.execPath, [...options, file], { cwd: folder, stdio: 'inherit' })
  t.teardown(() => server.kill())
  const address = `http://localhost:${port}`
  await until('the program listens', () => fetch(address).then(response => response.ok, () => false))
  return address
}

t.test('the first program runs as JavaScript and as TypeScript', async t => {
  const run = async (file: string, ...options: string[]): Promise<void> => {
    const address = await startPasted(t, file, ...options)
    t.equal(await (await fetch(address)).text(), readme.block('A server and a client', 'html'))
    t.equal(await (await fetch(`${address}/sse`)).text(), TEN)
  }
  await Promise.all([run('server.mjs'), run('server.mts', '--import', 'tsx')])
})
