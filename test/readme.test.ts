import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { trace } from '@opentelemetry/api'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { build } from 'esbuild'
import type { FastifyInstance } from 'fastify'
import { chromium, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { resolveChannel } from '../lib/channel/settings.ts'
import { optionRows } from '../lib/cli/help.ts'
import { commands } from '../lib/cli/run.ts'
import { diagnostics } from '../lib/metrics/diagnostics.ts'
import * as errors from '../lib/errors.ts'
import type { Channel, EventMap, EventLogFactory } from '../lib/index.ts'
import { checkEventLog } from '../lib/log/check-event-log.ts'
import { resolveRegistration } from '../lib/server/options.ts'
import { resolveOptions } from '../lib/stream/options.ts'
import { Statistics } from '../lib/metrics/statistics.ts'
import { injectStream, openStreams } from '../lib/testing.ts'
import { FLAGS } from './setup/chromium.ts'
import { faultsOf, readerOf, type Json } from './setup/document.ts'
import { absent, CHROMIUM, find, need, REDIS } from './setup/programs.ts'
import { RedisServer } from './setup/redis.ts'

// Every block of code in the README runs here as a program of its own.
const readme = readFileSync('README.md', 'utf8')
const folder = '.tap/readme'
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })

interface Block { heading: string, language: string, code: string }

const blocks: Block[] = []
for (const section of readme.split(/^## /m)) {
  const heading = section.slice(0, section.indexOf('\n'))
  for (const [, language = '', code = ''] of section.matchAll(/^```(\w+)\n(.*?)^```$/gms)) blocks.push({ heading, language, code })
}

const PRELUDE = `import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
const app = Fastify()
await app.register(sse)
`

const programs = blocks.filter(block => block.language === 'ts').map((block, index) => {
  const imports = block.code.match(/^import .*\n/gm)?.join('') ?? ''
  const rest = block.code.replace(/^import .*\n/gm, '')
  const code = block.code.includes('const app = Fastify(') ? block.code : imports + PRELUDE + rest
  const file = `${folder}/${index}.ts`
  // Ports are for people; inject needs none, and a logger would write into the test's output.
  const exports = [...code.matchAll(/^(?:function|const) (\w+)/gm)].map(([, name]) => name)
  writeFileSync(file, code.replace(/^await app\.listen.*$/m, '').replace('logger: true', 'logger: false') + `\nexport { ${exports.join(', ')} }\n`)
  return { ...block, file }
})

// Where the block of many nodes looks for it.
if (find(REDIS) !== undefined) process.env.REDIS_URL = `redis://127.0.0.1:${(await RedisServer.start(t)).port}`

type Check = (t: Test, app: FastifyInstance) => Promise<void>

const body = async (app: FastifyInstance, url: string, headers = {}): Promise<string> => (await app.inject({ url, headers })).body

const checks: Record<string, Check[]> = {
  'A server and a client': [async (t, app) => {
    const expected = Array.from({ length: 10 }, (_, n) => `data: {"status":200,"resMsg":"server sent event message: ${n + 1}"}\n\n`).join('')
    t.equal(await body(app, '/sse'), expected)
    t.ok(expected.startsWith(shown('A server and a client')), 'as the README shows it')
  }],
  'Typed events': [async (t, app) => {
    const id = '0b5a9c1e-7f0e-4a55-9d8e-3f6f0f1b2c3d'
    t.equal(await body(app, '/orders'), `event: created\nid: 1\ndata: {"id":"${id}","total":12.5}\n\n` +
      `event: note\ndata: line one\ndata: line two\n\nevent: paid\nid: 2\ndata: {"id":"${id}"}\n\n`)
  }],
  Sources: [async (t, app) => {
    t.equal(await body(app, '/array'), 'data: 1\n\ndata: 2\n\n')
    t.equal(await body(app, '/node'), 'data: 1\n\ndata: 2\n\n')
    t.equal(await body(app, '/web'), 'data: 1\n\n')
    t.equal(await body(app, '/function', { 'last-event-id': '2' }), 'id: 3\ndata: 3\n\n')
  }, async (t, app) => {
    const chunk = (delta: string): string => `data: {"id":"chatcmpl-1","object":"chunk","choices":[{"delta":"${delta}"}]}\n\n`
    t.equal(await body(app, '/answer'), chunk('Hel') + chunk('lo'))
    t.match(await body(app, '/file'), /^event: part\ndata: # fastify-typed-sse\n/)
  }, async (t, app) => {
    const { present } = await programOf<{ present: Set<string> }>("'/room'")
    const [first, second] = [await injectStream(app, '/room'), await injectStream(app, '/room')]
    await app.inject({ method: 'HEAD', url: '/room' })
    t.equal(present.size, 2, 'a HEAD request opens no stream')
    t.ok(present.has((await first.take(1))[0]!.data), 'the first client receives that the second one joined')
    await second.disconnect()
    t.equal(present.size, 1)
    await first.disconnect()
    t.equal(present.size, 0)
  }, async (t, app) => {
    const ticks = (from: number) => [1, 2, 3].slice(from).map(n => `event: tick\nid: ${n}\ndata: {"n":${n}}\n\n`).join('')
    t.equal(await body(app, '/relay'), ticks(0))
    t.equal(await body(app, '/relay', { 'last-event-id': '2' }), ticks(2))
  }],
  'When the client leaves': [async (t, app) => {
    const stream = await injectStream(app, { method: 'POST', url: '/watch', payload: { any: 'body' } })
    t.match(await stream.take(1), [{ data: /^\{"at":"\d{4}-/ }])
    await stream.disconnect()
    t.strictSame(openStreams(app), [])
  }],
  'A background producer': [async (t, app) => {
    const progress = [0, 25, 50, 75, 100].map(percent => `event: progress\ndata: {"percent":${percent}}\n\n`).join('')
    t.equal(await body(app, '/job'), progress + 'event: done\ndata: null\n\n')
  }],
  Errors: [
    async (t, app) => {
      const response = await app.inject('/report')
      t.equal(response.statusCode, 404)
      t.match(response.json(), { message: 'No such report' })
    },
    async (t, app) => {
      t.equal(await body(app, '/ticks'), 'data: tick\n\nevent: failed\ndata: {"requestId":"req-1"}\n\n')
      app = (await import('fastify')).default()
      await app.register((await import('../lib/index.ts')).default)
      app.get('/', (_request, reply) => reply.sse(async function * () {
        yield { data: '' }
        throw new Error('secret')
      }))
      t.equal(await body(app, '/'), 'data: \n\n' + shown('Errors'))
    }
  ],
  'Finite streams': [async (t, app) => {
    t.equal(await body(app, '/countdown'), 'data: 3\n\ndata: 2\n\ndata: 1\n\nevent: sse.position\nid: sse.end\ndata: \n\n')
    t.equal((await app.inject({ url: '/countdown', headers: { 'last-event-id': 'sse.end' } })).statusCode, 204)
  }],
  'Coming back': [async (t, app) => {
    t.equal(await body(app, '/numbers', { 'last-event-id': '7' }), 'retry: 2000\n\nid: 8\ndata: 8\n\nid: 9\ndata: 9\n\nid: 10\ndata: 10\n\n')
  }],
  Channels: [
    async (t, app) => {
      const client = await follow(t, app, '/prices')
      const response = await app.inject({ method: 'POST', url: '/prices', payload: { symbol: 'ABC', price: 12.5 } })
      const { id } = response.json<{ id: string }>()
      const epoch = id.replace(/-1$/, '')
      const [resumed, reset] = blocks.filter(block => block.heading === 'Channels' && block.language === 'text').map(block => block.code.replaceAll('2dri67ppar', epoch))
      t.equal(await client.until('12.5}\n\n'), resumed)
      const other = await follow(t, app, '/prices', { 'last-event-id': `${epoch}-9` })
      t.equal(await other.until('1}\n\n'), reset?.replace('evicted', 'ahead'))
    },
    async (t, app) => {
      const { stepEvents } = await import(`../${programs.find(block => block.code.includes("'steps'"))!.file}`) as { stepEvents: EventMap }
      const steps = app.sse.channel('steps', { events: stepEvents })
      const events = []
      // To the end of the channel: the queue may still be on its way when the program's text is over.
      for await (const { event, data } of steps.subscribe({ start: 'earliest' })) events.push({ event, data })
      t.strictSame(events, [{ event: 'step', data: { n: 1 } }])
      t.match(await steps.position(), { newest: 1, ended: true })
    },
    async (t, app) => {
      const [all, one] = [await follow(t, app, '/board'), await follow(t, app, '/board/b')]
      t.match(await all.until('}\n\n'), /^: live\nevent: state\nid: \w+-1\ndata: \{"a":1\}\n\n$/)
      const { set } = await import(`../${programs.find(block => block.code.includes("'board'"))!.file}`) as { set: (key: string, value: number) => Promise<string> }
      await set('a', 2)
      await set('b', 3)
      t.match(await all.until('3}\n\n'), /event: changed\nid: \w+-2\ndata: \{"key":"a","value":2\}\n\nevent: changed\nid: \w+-3\ndata: \{"key":"b","value":3\}\n\n$/)
      t.match(await one.until('3}\n\n'), /^: live\nevent: sse.position\nid: \w+-1\ndata: \n\nevent: sse.position\nid: \w+-2\ndata: \n\nevent: changed\nid: \w+-3\ndata: \{"key":"b","value":3\}\n\n$/)
    },
    async (t, app) => { t.equal(app.sse.channel('jobs', { start: 'earliest' }).subscribers, 0) }
  ],
  'Slow readers': [async (t, app) => { t.match(await (await follow(t, app, '/quotes')).until('\n\n'), /^: live\nevent: sse.position\nid: \w+-0\ndata: \n\n$/) }],
  'The inspector': [async (t, app) => {
    t.match(await app.inject('/inspector/'), { statusCode: 401, headers: { 'www-authenticate': 'Basic' } })
    const { operator } = await programOf<{ operator: string }>("'fastify-typed-sse/inspector'")
    const headers = { authorization: operator }
    t.match(await body(app, '/inspector/', headers), '<title>Inspector</title>')
    t.match(await (await follow(t, app, '/inspector/events', headers)).until('}\n\n'), /event: report\n/)
  }],
  'Many channels on one stream': [async (t, app) => { t.match(await (await follow(t, app, '/all')).until('\n\n'), /^: live\nevent: sse.position\nid: \w+-0\.\w+-0\ndata: \n\n$/) }],
  'Resumable runs': [async (t, app) => {
    t.equal((await app.inject('/runs/7')).statusCode, 404)
    const [first, second] = await Promise.all([app.inject({ method: 'POST', url: '/runs/7' }), app.inject({ method: 'POST', url: '/runs/7' })])
    t.equal(first.body, second.body)
    t.equal([...first.body.matchAll(/^event: token\n.*\ndata: (.*)$/gm)].map(([, token]) => token).join(''), 'Once upon a time')
    const late = (await app.inject('/runs/7')).body
    t.equal(late.replace(/^: \w+\n/gm, ''), first.body.replace(/^: \w+\n\n?/gm, ''), 'a late comer gets it all')
    const id = [...first.body.matchAll(/^id: (.+)$/gm)].at(-1)![1]
    t.equal((await app.inject({ url: '/runs/7', headers: { 'last-event-id': id } })).statusCode, 204)
    for (const url of ['/runs/7', '/runs/8']) t.equal((await app.inject({ method: 'DELETE', url })).statusCode, 200)
    const other = await app.inject({ method: 'POST', url: '/runs/8' })
    t.match(other.body, / time\n/, 'to stop what is no run makes none')
  }],
  'The typed client': [
    async t => {
      const { seen, ended } = await programOf<{ seen: unknown[], ended: object }>("'/import'")
      t.strictSame(seen, [50, 'HALF OF IT', 1204])
      t.strictSame(ended, { reason: 'complete' })
    },
    async t => { t.strictSame((await programOf<{ rooms: number[] }>("'/alarms'")).rooms, [7]) },
    async t => { t.strictSame((await programOf<{ events: unknown[] }>("'/private'")).events, [{ event: 'message', data: 'hello', id: '8' }]) },
    async t => {
      const { ended } = await programOf<{ ended: { error: Error } }>("'/levels'")
      t.match(ended.error, { code: 'FST_SSE_INVALID_EVENT', message: "Event 'level' does not fit: Expected number at '/value'" })
    }
  ],
  'Many nodes': [async (t, app) => {
    const copy = `${folder}/other-node.ts`
    writeFileSync(copy, readFileSync(programs.find(({ heading }) => heading === 'Many nodes')!.file, 'utf8'))
    const other = (await import(`../${copy}`) as { app: FastifyInstance }).app
    t.teardown(() => other.close())
    const clients = await Promise.all([follow(t, app, '/news'), follow(t, other, '/news')])
    // Where Redis takes its time, there is a sign of life before.
    for (const client of clients) t.match(await client.until('-0\ndata: \n\n'), /^(:\n\n)*: live\nevent: sse.position\nid: \w+-0\ndata: \n\n$/)
    const { id } = (await other.inject({ method: 'POST', url: '/news', payload: { text: 'One' } })).json<{ id: string }>()
    for (const client of clients) t.ok((await client.until('"One"}\n\n')).endsWith(`event: headline\nid: ${id}\ndata: {"text":"One"}\n\n`))
    const back = await follow(t, app, '/news', { 'last-event-id': id.replace('-1', '-0') })
    t.equal((await back.until(': live\n\n')).replace(/^(:\n\n)+/, ''), `: replay\nevent: sse.position\nid: ${id.replace('-1', '-0')}\ndata: \n\nevent: headline\nid: ${id}\ndata: {"text":"One"}\n\n: live\n\n`)
  }],
  'Where channels keep their events': [async t => {
    const { fileLog } = await import(`../${programs.find(block => block.code.includes('fileLog ('))!.file}`) as { fileLog: (folder: string) => EventLogFactory }
    await checkEventLog(t, () => fileLog(t.testdir()))
    const place = t.testdir()
    const history = { maxEvents: 2, maxBytes: 1_000, maxAge: Infinity }
    const before = fileLog(place)('name', history)
    for (const data of ['1', '2', '3']) await before.append({ event: 'message', data, json: true })
    await before.end()
    const after = fileLog(place)('name', history)
    t.strictSame(await after.state(), await before.state())
    t.strictSame((await after.read(0, 10)).entries.map(({ data }) => data), ['2', '3'])
  }, async () => {}],
  Options: [async (t, app) => {
    await app.ready()
    t.ok(app.hasReplyDecorator('sse'))
  }],
  // They assert for themselves.
  'Testing your routes': [async (t, app) => { t.ok(app) }, async (t, app) => { t.strictSame(openStreams(app), []) }, async (t, app) => { t.strictSame(openStreams(app), []) }],
  Metrics: [async (t, app) => {
    app.get('/two', (_request, reply) => reply.sse([{ data: 1 }, { data: 2 }]))
    for (const count of [1, 2]) {
      await body(app, '/two')
      const scraped = await body(app, '/metrics')
      t.match(scraped, `\nsse_streams_closed_total{route="GET /two",reason="complete"} ${count}\n`)
      t.match(scraped, '\nsse_streams_open{route="GET /two"} 0\n')
    }
  }],
  Tracing: [async (t, app) => {
    const exporter = new InMemorySpanExporter()
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }))
    t.teardown(() => trace.disable())
    app.get('/two', (_request, reply) => reply.sse([{ data: 1 }, { data: 2 }]))
    await body(app, '/two')
    t.match(exporter.getFinishedSpans(), [{ name: 'stream GET /two', attributes: { 'sse.close.reason': 'complete', 'sse.events': 2, 'sse.bytes': 18 } }])
  }],
  'Documenting your streams': [
    async (t, app) => {
      const document = JSON.parse(JSON.stringify(app.swagger())) as Json
      t.strictSame(await faultsOf(document), [])
      const read = readerOf(document, document.paths!['/orders']!.get!.responses!['200']!.content!['text/event-stream']!.itemSchema!)
      t.ok(read({ event: 'created', data: '{"id":"0b5a9c1e-7f0e-4a55-9d8e-3f6f0f1b2c3d","total":12.5}' }))
      t.ok(read({ event: 'note', data: 'so' }))
      t.notOk(read({ event: 'created', data: '{"id":"7","total":12.5}' }))
    },
    async (t, app) => {
      await app.ready()
      t.match(app.swagger(), { paths: { '/ticks': { get: { tags: ['live'], responses: { 200: { content: { 'text/event-stream': { itemSchema: {} } } } } } } } })
    }
  ],
  'Running it': [
    async (t, app) => {
      const clients = []
      for (let n = 0; n < 6; n++) clients.push(await injectStream(app, { url: '/feed', headers: { 'x-user': 'ann' } }))
      t.match(await app.inject({ url: '/feed', headers: { 'x-user': 'ann' } }), { statusCode: 429 })
      for (const client of clients) await client.disconnect()
      t.strictSame(openStreams(app), [])
    },
    async (t, app) => {
      t.equal(await body(app, '/answer'), ['this', 'takes', 'its', 'time'].map(word => `data: ${word}\n\n`).join(''))
    },
    async (t, app) => {
      const client = await injectStream(app, { url: '/feed', headers: { 'x-user': 'ann' } })
      const { ended } = (await app.inject({ method: 'POST', url: '/logout', headers: { 'x-user': 'ann' } })).json<{ ended: number }>()
      t.equal(ended, 1)
      t.match(await client.closed, { error: { data: { status: 403, detail: 'The stream was ended: you logged out' } } })
    },
    async (t, app) => {
      app.get('/', (_request, reply) => reply.sse([{ data: 1 }]))
      const told: unknown[] = []
      const { log } = console
      console.log = (line: unknown) => { told.push(line) }
      await body(app, '/')
      console.log = log
      t.match(told, [/^GET \/ complete after \d+ ms$/])
    }
  ]
}

/** A client of an endless stream. */
async function follow (t: Test, app: FastifyInstance, url: string, headers = {}): Promise<{ until: (text: string) => Promise<string> }> {
  const client = new AbortController()
  const response = await app.inject({ url, headers, payloadAsStream: true, signal: client.signal })
  const stream = response.stream().on('error', () => {})
  t.teardown(() => client.abort())
  let received = ''
  stream.on('data', chunk => { received += String(chunk) })
  return {
    until: async text => {
      while (!received.endsWith(text)) await once(stream, 'data')
      return received
    }
  }
}

/** What the program that has this text in it came to. */
async function programOf<P extends object> (text: string): Promise<P> {
  return await import(`../${programs.find(block => block.code.includes(text))!.file}`) as P
}

/** A block of text that shows what comes over the wire. */
function shown (heading: string): string {
  return blocks.find(block => block.heading === heading && block.language === 'text')?.code ?? 'no such block'
}

t.test('every TypeScript block has its check, and the other way round', async t => {
  const counts = (headings: string[]): Record<string, number> => Object.fromEntries([...new Set(headings)].map(name => [name, headings.filter(other => other === name).length]))
  t.strictSame(counts(programs.map(({ heading }) => heading)), Object.fromEntries(Object.entries(checks).map(([name, list]) => [name, list.length])))
})

t.test('every TypeScript block compiles', async t => {
  writeFileSync(`${folder}/tsconfig.json`, JSON.stringify({ extends: '../../tsconfig.json', compilerOptions: { rootDir: '../..', allowUnreachableCode: true }, include: ['.'] }))
  try {
    execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', folder], { encoding: 'utf8' })
  } catch (error) {
    t.equal((error as { stdout: string }).stdout, '')
  }
})

const seen = new Map<string, number>()
for (const { heading, file, code } of programs) {
  const index = seen.get(heading) ?? 0
  seen.set(heading, index + 1)
  t.test(`${heading}, block ${index + 1} runs`, { skip: heading === 'Many nodes' && absent(REDIS) }, async t => {
    if (code.includes("from 'tap'")) {
      // A test of its own, which cannot run inside of another.
      const output = execFileSync(process.execPath, ['--import', 'tsx', file], { encoding: 'utf8' })
      t.match(output, /^ok 10 - /m)
      t.notMatch(output, /^not ok/m)
      return
    }
    const { app } = await import(`../${file}`) as { app: FastifyInstance }
    t.teardown(() => app.close())
    await checks[heading]?.[index]?.(t, app)
  })
}

t.test('the table of error codes is the list of errors', async t => {
  const documented = [...readme.matchAll(/^\| `(FST_SSE_\w+)` \| (\d+|–) \|/gm)].map(([, code, status]) => [code, status])
  const defined = Object.entries(errors).filter(([name]) => name.startsWith('FST_')).map(([name, make]) => [name, String(new (make as new () => { statusCode: number })().statusCode)])
  t.strictSame(documented.toSorted(), [...defined, ['FST_SSE_CLOSED', '–']].toSorted())
})

t.test('the table of client codes is the list of what can go wrong there', async t => {
  const documented = [...readme.matchAll(/^\| `(FST_SSE_\w+)` \| [^|]+ \| (?:yes|no|from|–)/gm)].map(([, code]) => code)
  const defined = readFileSync('lib/client/stream-error.ts', 'utf8').match(/(?<=\| ')FST_SSE_\w+/g)
  t.strictSame(documented, defined)
})

/** Names and defaults in the tables of a section. */
function documentedOptions (heading: string): Record<string, string> {
  const section = readme.split(/^## /m).find(text => text.startsWith(`${heading}\n`)) ?? ''
  const rows = section.matchAll(/^\| `([a-z]\w+)` \| (\d+|`[^`]+`|–|any|problem) \|/gm)
  return Object.fromEntries([...rows].map(([, name = '', value = '']) => [name, value.replaceAll('`', '').replaceAll("'", '')]))
}

t.test('the table of options has every option with its default', async t => {
  const defined = Object.entries(resolveOptions(undefined)).map(([name, value]) => [name, String(value ?? (name === 'errorEvent' ? 'problem' : '–'))])
  const { server: { shutdownTimeout, reconnectWindow } } = resolveRegistration({})
  t.strictSame(documentedOptions('Options'), { ...Object.fromEntries(defined), limits: '–', shutdownTimeout: String(shutdownTimeout), reconnectWindow: String(reconnectWindow), eventLog: 'memoryLog()' })
})

t.test('the tables of the command line are what the commands say of themselves', async t => {
  const section = readme.split(/^## /m).find(text => text.startsWith('From the command line\n')) ?? ''
  for (const { name, options } of commands) {
    const own = section.split(/^### /m).find(text => text.startsWith(`${name}\n`)) ?? ''
    t.strictSame([...own.matchAll(/^\| `(-[^`]+)` \| (.*) \|$/gm)].map(([, option, text]) => [option, text]), optionRows(options), name)
  }
  const codes = [...section.matchAll(/^\| (\d+) \| (.*) \| (.*) \|$/gm)].map(([, code, ...texts]) => [code, ...texts])
  t.strictSame(codes, Object.keys(commands[0]!.exits).map(code => [code, ...commands.map(({ exits }) => exits[Number(code)])]))
  t.strictSame(commands.map(({ exits }) => Object.keys(exits)), commands.map(() => codes.map(([code]) => code)), 'each has them all')
})

t.test('the table of channel options has every option with its default', async t => {
  const { history, start, slowConsumer: slow, events, errorEvent } = resolveChannel('any', {})
  t.strictSame(documentedOptions('Channels'), {
    events: String(events ?? 'any'),
    history: `{ ${Object.entries(history).map(([bound, value]) => `${bound}: ${value}`).join(', ')} }`,
    start,
    slow,
    errorEvent: String(errorEvent ?? 'problem')
  })
})

/** The first column of the tables of a section whose names are so. */
const firstColumn = (heading: string, name: RegExp): string[] => {
  const section = readme.slice(readme.indexOf(`\n${heading}\n`) + 1).split(/^#+ /m)[1] ?? ''
  return [...section.matchAll(/^\| `([^`]+)` \|/gm)].map(([, first = '']) => first).filter(first => name.test(first))
}

t.test('the table of statistics has every figure', async t => {
  t.strictSame(firstColumn('### Seeing inside', /^\w+$/), Object.keys(new Statistics().snapshot([], {})))
})

t.test('the table of diagnostics channels has every channel', async t => {
  t.strictSame(firstColumn('### Seeing inside', /:/), Object.keys(diagnostics).map(name => `fastify-typed-sse:${name}`))
})

t.test('the table of reasons has every reason', async t => {
  const { closed } = new Statistics().snapshot([], {}).streams
  t.strictSame(firstColumn('## When the client leaves', /^[a-z]+$/).toSorted(), Object.keys(closed).toSorted())
})

const skip = absent(CHROMIUM)

/** A page of the README in a browser, and the program that stands before it under the same heading. */
async function show<P extends { app: FastifyInstance }> (t: Test, heading: string): Promise<P & { page: Page }> {
  const server = programs.find(block => block.heading === heading)!
  // A copy of the module: the one of the test above is closed.
  const copy = `${folder}/page-${programs.indexOf(server)}.ts`
  writeFileSync(copy, readFileSync(server.file, 'utf8'))
  const program = await import(`../${copy}`) as P
  t.teardown(() => program.app.close())
  const browser = await chromium.launch({ executablePath: need(CHROMIUM), args: FLAGS })
  t.teardown(() => browser.close())
  const page = await browser.newPage()
  await page.goto(`${await program.app.listen({ port: 0, host: '127.0.0.1' })}/the-page`)
  await page.setContent(blocks.find(block => block.heading === heading && block.language === 'html')!.code)
  return { ...program, page }
}

t.test('the page runs in a browser', { skip }, async t => {
  const { page } = await show(t, 'A server and a client')
  await page.waitForSelector('li:nth-child(10)')
  t.equal(await page.textContent('li:nth-child(10)'), 'server sent event message: 10')
})

t.test('the page of a channel runs in a browser', { skip }, async t => {
  const { page, prices } = await show<{ app: FastifyInstance, prices: Channel }>(t, 'Channels')
  while (prices.subscribers === 0) await new Promise(setImmediate)
  await prices.publish({ event: 'price', data: { symbol: 'ABC', price: 12.5 } })
  await page.waitForSelector('li')
  t.same(await page.locator('li').allTextContents(), ['{"symbol":"ABC","price":12.5}'])
})

const importServer = programs.find(block => block.code.includes("'/import'"))!

/** The program of the typed client, listening, and a page of its that gets the package's modules. */
async function importPage (t: Test): Promise<{ page: Page, address: string }> {
  const copy = `${folder}/import-page-${t.name.length}.ts`
  writeFileSync(copy, readFileSync(importServer.file, 'utf8'))
  const { app, address } = await import(`../${copy}`) as { app: FastifyInstance, address: string }
  t.teardown(() => app.close())
  const browser = await chromium.launch({ executablePath: need(CHROMIUM), args: FLAGS })
  t.teardown(() => browser.close())
  const page = await browser.newPage()
  await page.route('**/fastify-typed-sse/**', route => route.fulfill({
    path: `dist/${new URL(route.request().url()).pathname.slice('/fastify-typed-sse/'.length)}`,
    contentType: 'text/javascript'
  }))
  await page.goto(`${address}/the-page`)
  return { page, address }
}

t.test('the page of the typed client runs in a browser', { skip }, async t => {
  const { page } = await importPage(t)
  await page.setContent(blocks.find(block => block.heading === 'The typed client' && block.language === 'html')!.code)
  await page.waitForFunction(() => document.querySelector('p')!.textContent === '1204 rows')
})

t.test('the component of the typed client compiles, and runs in a browser', { skip }, async t => {
  const { page } = await importPage(t)
  const { code } = blocks.find(block => block.language === 'tsx')!
  writeFileSync(`${folder}/component.tsx`, code.replace('./server.ts', `./${basename(importServer.file)}`))
  writeFileSync(`${folder}/component.json`, JSON.stringify({ extends: '../../tsconfig.json', compilerOptions: { rootDir: '../..', jsx: 'react-jsx' }, include: ['component.tsx'] }))
  execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', `${folder}/component.json`], { encoding: 'utf8' })
  writeFileSync(`${folder}/start.tsx`, "import { createRoot } from 'react-dom/client'\nimport { Import } from './component.tsx'\ncreateRoot(document.querySelector('main')!).render(<Import url='/import' />)\n")
  const { outputFiles: [bundle] } = await build({ entryPoints: [`${folder}/start.tsx`], bundle: true, format: 'iife', jsx: 'automatic', write: false })
  await page.setContent('<main></main>')
  await page.addScriptTag({ content: bundle!.text })
  await page.waitForFunction(() => document.querySelector('main')!.textContent === 'closed: 50 %')
})
