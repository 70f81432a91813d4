import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import { chromium } from 'playwright-core'
import t, { type Test } from 'tap'
import * as errors from '../lib/errors.ts'
import { resolveOptions } from '../lib/options.ts'
import { findChromium, FLAGS, MISSING } from './setup/chromium.ts'

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
  writeFileSync(file, code.replace(/^await app\.listen.*$/m, '').replace('logger: true', 'logger: false') + '\nexport { app }\n')
  return { ...block, file }
})

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
  }],
  'When the client leaves': [async (t, app) => {
    const client = new AbortController()
    const response = await app.inject({ method: 'POST', url: '/watch', payload: { any: 'body' }, payloadAsStream: true, signal: client.signal })
    const [chunk] = await once(response.stream().on('error', () => {}), 'data')
    t.match(String(chunk), /^data: \{"at":"\d{4}-/)
    client.abort()
    await app.close()
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
    t.equal(await body(app, '/countdown'), 'data: 3\n\ndata: 2\n\ndata: 1\n\nid: sse.end\n\n')
    t.equal((await app.inject({ url: '/countdown', headers: { 'last-event-id': 'sse.end' } })).statusCode, 204)
  }],
  'Coming back': [async (t, app) => {
    t.equal(await body(app, '/numbers', { 'last-event-id': '7' }), 'retry: 2000\n\nid: 8\ndata: 8\n\nid: 9\ndata: 9\n\nid: 10\ndata: 10\n\n')
  }],
  Options: [async (t, app) => {
    await app.ready()
    t.ok(app.hasReplyDecorator('sse'))
  }],
  'Testing your routes': [async (t, app) => { t.ok(app) }, async (t, app) => { t.ok(app) }]
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
for (const { heading, file } of programs) {
  const index = seen.get(heading) ?? 0
  seen.set(heading, index + 1)
  t.test(`${heading}, block ${index + 1} runs`, async t => {
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

t.test('the table of options has every option with its default', async t => {
  const documented = [...readme.matchAll(/^\| `([a-z]\w+)` \| (\d+|`[^`]+`|–|problem) \|/gm)].map(([, name, value = '']) => [name, value.replaceAll('`', '').replaceAll("'", '')])
  const defined = Object.entries(resolveOptions(undefined)).map(([name, value]) => [name, String(value ?? (name === 'errorEvent' ? 'problem' : '–'))])
  t.strictSame(Object.fromEntries(documented), Object.fromEntries(defined))
})

const executablePath = findChromium()
t.test('the page runs in a browser', { skip: executablePath === undefined && process.env.CI !== 'true' && MISSING }, async t => {
  const server = programs.find(block => block.heading === 'A server and a client')!
  // A copy of the module: the one of the test above is closed.
  writeFileSync(`${folder}/page.ts`, readFileSync(server.file, 'utf8'))
  const { app } = await import(`../${folder}/page.ts`) as { app: FastifyInstance }
  t.teardown(() => app.close())
  const browser = await chromium.launch({ executablePath: executablePath!, args: FLAGS })
  t.teardown(() => browser.close())
  const page = await browser.newPage()
  await page.goto(`${await app.listen({ port: 0, host: '127.0.0.1' })}/the-page`)
  await page.setContent(blocks.find(block => block.language === 'html')!.code)
  await page.waitForSelector('li:nth-child(10)')
  t.equal(await page.textContent('li:nth-child(10)'), 'server sent event message: 10')
})
