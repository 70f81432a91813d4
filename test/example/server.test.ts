import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { build } from '../../example/server.ts'
import { faultsOf, type Json } from '../setup/document.ts'
import { inBrowser, SCREENSHOTS, Site, tabOf, windowOf } from './browser.ts'

t.setTimeout(600_000)

interface Program {
  child: ChildProcess
  lines: AsyncIterator<string>
  exit: Promise<[number | null, NodeJS.Signals | null]>
}

function run (t: Test, file: string, args: string[] = [], env: NodeJS.ProcessEnv = {}): Program {
  const child = spawn(process.execPath, ['--import', 'tsx', file, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const exit = once(child, 'exit') as Program['exit']
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exit
  })
  return { child, lines: createInterface({ input: child.stdout! })[Symbol.asyncIterator](), exit }
}

async function startServer (t: Test): Promise<Program & { url: string }> {
  const program = run(t, 'example/server.ts', [], { PORT: '0' })
  const { value } = await program.lines.next()
  const url = /http:\/\/127\.0\.0\.1:\d+/.exec(value)?.[0]
  if (url === undefined) throw new Error(`no address in ${value}`)
  return { ...program, url }
}

async function linesOf (program: Program): Promise<string[]> {
  const lines: string[] = []
  for (let step = await program.lines.next(); step.done !== true; step = await program.lines.next()) {
    lines.push(step.value)
  }
  return lines
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z {2}/

t.test('example/server.ts prints the address that it listens on', async t => {
  const { url } = await startServer(t)
  t.not(new URL(url).port, '0')
  t.equal((await fetch(url)).status, 200)
})

t.test('the clients print the seed stream of the server with the time of each line', { jobs: 3 }, async t => {
  const { url } = await startServer(t)
  const numbers = Array.from({ length: 10 }, (_, i) => i + 1)
  const rows = [
    {
      file: 'example/seed/client.ts',
      args: [`${url}/sse`],
      env: {},
      line: (n: number) => `data: {"status":200,"resMsg":"server sent event message: ${n}"}`
    },
    {
      file: 'example/seed/client.ts',
      args: [],
      env: { PORT: new URL(url).port },
      line: (n: number) => `data: {"status":200,"resMsg":"server sent event message: ${n}"}`
    },
    {
      file: 'example/seed/client-parser.ts',
      args: [`${url}/sse/queue`],
      env: {},
      line: (n: number) => `200 server sent event message: ${n}`
    },
    {
      file: 'example/seed/client-typed.ts',
      args: [`${url}/sse`],
      env: {},
      line: (n: number) => `200 server sent event message: ${n}`
    }
  ]
  for (const { file, args, env, line } of rows) {
    t.test(`${file} ${args.length > 0 ? 'with a URL' : 'with PORT'}`, async t => {
      const client = run(t, file, args, env)
      const lines = await linesOf(client)
      t.strictSame(await client.exit, [0, null])
      for (const printed of lines) t.match(printed, TIME)
      t.strictSame(lines.map(printed => printed.replace(TIME, '')), numbers.map(line))
      t.ok(Date.parse(lines.at(-1)!.slice(0, 24)) - Date.parse(lines[0]!.slice(0, 24)) >= 600,
        'not all lines at the end')
    })
  }
})

t.test('a client without a server prints an error and fails', async t => {
  for (const file of ['example/seed/client.ts', 'example/seed/client-parser.ts', 'example/seed/client-typed.ts']) {
    const child = spawn(process.execPath, ['--import', 'tsx', file, 'http://127.0.0.1:1/sse'], {
      stdio: ['ignore', 'ignore', 'pipe']
    })
    let output = ''
    child.stderr.on('data', text => { output += text })
    const [code] = await once(child, 'close')
    t.equal(code, 1)
    t.match(output, /^http:\/\/127\.0\.0\.1:1\/sse: .+\n$/)
  }
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  t.test(`${signal} gives open streams a clean end and closes the server`, async t => {
    const { child, url, exit } = await startServer(t)
    const response = await fetch(`${url}/sse`)
    const reader = response.body!.getReader()
    await reader.read()
    child.kill(signal)
    // A broken connection would reject.
    while (!(await reader.read()).done);
    t.strictSame(await exit, [0, null])
  })
}

t.test('the start page lists the examples, and shows each with one stream in a frame', async t => {
  const app = await build()
  t.teardown(() => app.close())
  const start = await app.inject('/')
  for (const path of ['/seed', '/tokens', '/progress', '/board', '/chat', '/run', '/presence', '/hypermedia', '/assistant']) {
    t.match(start.body, `<a href="${path}">`)
    const framed = !['/presence', '/hypermedia'].includes(path)
    t.equal(start.body.includes(`<iframe src="${path}"`), framed, 'a browser opens six connections')
    const page = await app.inject(path)
    t.equal(page.headers['content-type'], 'text/html; charset=utf-8')
    t.match(page.body, '<link rel="stylesheet" href="/page.css">')
  }
  t.match(start.body, '<a href="/docs">')
  t.match(start.body, '<a href="/metrics">')
  t.match((await app.inject('/metrics')).body, '# TYPE sse_streams_open gauge')
  const style = await app.inject('/page.css')
  t.equal(style.headers['content-type'], 'text/css; charset=utf-8')
  t.match(style.body, 'color-scheme: light dark')
})

t.test('the inspector is open to loopback addresses only, and the start page links to it', async t => {
  const app = await build()
  t.teardown(() => app.close())
  t.match((await app.inject('/')).body, '<a href="/inspector">')
  for (const remoteAddress of ['127.0.0.1', '::1', '::ffff:127.0.0.1']) {
    t.equal((await app.inject({ url: '/inspector/', remoteAddress })).statusCode, 200, remoteAddress)
  }
  t.equal((await app.inject({ url: '/inspector/', remoteAddress: '192.0.2.1' })).statusCode, 403)
})

t.test('the modules of the client are served, and no other files', async t => {
  const app = await build()
  t.teardown(() => app.close())
  const module = await app.inject('/fastify-typed-sse/client.js')
  t.equal(module.headers['content-type'], 'text/javascript; charset=utf-8')
  t.match(module.body, 'connect')
  t.equal((await app.inject('/fastify-typed-sse/client/connect.js')).statusCode, 200)
  for (const path of ['client.d.ts', '../package.json', '%2e%2e/package.json', 'client', 'none.js']) {
    t.equal((await app.inject(`/fastify-typed-sse/${path}`)).statusCode, 404, path)
  }
})

t.test('the OpenAPI document describes the routes of the server', async t => {
  const app = await build()
  t.teardown(() => app.close())
  const document = (await app.inject('/docs/json')).json<Json>()
  t.strictSame(await faultsOf(document), [])
  t.strictSame(Object.keys(document.paths!).sort(), [
    '/api/chat',
    '/api/chat/{id}',
    '/api/chat/{id}/stream',
    '/board/events',
    '/chat/{room}/events',
    '/chat/{room}/messages',
    '/hypermedia/htmx',
    '/hypermedia/notes',
    '/hypermedia/turbo',
    '/mcp',
    '/presence/{document}/events',
    '/presence/{document}/waves',
    '/progress/events',
    '/runs/{id}',
    '/sse',
    '/sse/once',
    '/sse/queue',
    '/v1/chat/completions',
    '/v1/messages'
  ])
  t.strictSame(Object.keys(document.paths!['/v1/chat/completions']!.post!.responses!['200']!.content!), [
    'text/event-stream',
    'application/json'
  ])
})

inBrowser(t, (t, browser) => {
  t.test('the page of the document shows the events of a stream', async t => {
    const site = await Site.start(t, await build())
    const page = await tabOf(t, await windowOf(t, browser), `${site.url}/docs`)
    const operation = page.locator('.opblock', { hasText: '/progress/events' })
    await operation.locator('.opblock-summary').first().click()
    await operation.locator('.tablinks', { hasText: 'Schema' }).first().click()
    await operation.getByText('Expand all').first().click()
    for (const text of ['"progress"', 'percent', 'media type: application/json', '"sse.reset"']) {
      await operation.getByText(text).first().waitFor()
    }
    await operation.screenshot({ path: `${SCREENSHOTS}/docs.png` })
  })
})
