import { execFile, execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import type { FastifyInstance } from 'fastify'
import { chromium, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { FLAGS } from './chromium.ts'
import { codeBlocksOf, type CodeBlock } from './markdown.ts'
import { CHROMIUM, need } from './programs.ts'
import { env } from './project.ts'

/** Checks the program of one block of code, whose app has its routes. */
export type Check = (t: Test, app: FastifyInstance) => Promise<void>

/** A block of TypeScript as a program of its own, in a file. */
interface Program { heading: string, code: string, file: string }

const PRELUDE = `import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
const app = Fastify()
await app.register(sse)
`

/** The blocks of code of a Markdown file. Each block of TypeScript is a program of its own. */
export class DocumentPrograms {
  readonly path: string
  readonly folder: string
  readonly blocks: CodeBlock[]
  readonly programs: Program[]

  /** Writes the programs into a folder. */
  constructor (path: string, folder = join('.tap/documents', path.replace(/\W/g, '-'))) {
    this.path = path
    this.folder = folder
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    this.blocks = codeBlocksOf(path)
    this.programs = this.blocks.filter(({ language }) => language === 'ts').map(({ heading, code }, index) => {
      const file = join(folder, `${index}.ts`)
      writeFileSync(file, programText(code))
      return { heading, code, file }
    })
  }

  /** Returns the first block under this heading in this language. */
  block (heading: string, language: string): string {
    return this.blocks.find(block => block.heading === heading && block.language === language)?.code ?? 'no such block'
  }

  /** Returns the exports of the program that contains this text. */
  async load<P extends object> (text: string): Promise<P> {
    return await importFile(this.#find(text).file)
  }

  /** Starts the program that contains this text once more and returns its exports. */
  async loadAgain<P extends object> (text: string): Promise<P> {
    const { file } = this.#find(text)
    // A copy is another module.
    const copy = `${file.replace(/\.ts$/, '')}-${++this.#copies}.ts`
    writeFileSync(copy, readFileSync(file, 'utf8'))
    return await importFile(copy)
  }

  /**
   * Writes the parts of pages beside the program that contains this text: the block of TSX to `component.tsx`, and each
   * block of TypeScript whose first line is the name of a file. They import the program as `./server.ts`. Returns the
   * names of the files.
   */
  writeParts (text: string): string[] {
    const server = `./${basename(this.#find(text).file)}`
    const parts = this.blocks.flatMap(({ language, code }) => {
      const name = language === 'tsx' ? 'component.tsx' : /^\/\/ (\S+\.ts)\n/.exec(code)?.[1]
      return name === undefined ? [] : [{ name, code }]
    })
    for (const { name, code } of parts) writeFileSync(join(this.folder, name), code.replace('./server.ts', server))
    return parts.map(({ name }) => name)
  }

  /**
   * Runs the client under this heading, a block of JavaScript, with the server on this port in place of 3000. Returns
   * its output.
   */
  async runClient (heading: string, port: number): Promise<string> {
    const file = join(this.folder, 'client.mjs')
    writeFileSync(file, this.block(heading, 'js').replaceAll('localhost:3000', `127.0.0.1:${port}`))
    return (await promisify(execFile)(process.execPath, [file])).stdout
  }

  /** Runs each program and its check. The checks have the keys and the order of the headings. */
  run (checks: Record<string, Check[]>, skip: string | false = false): void {
    t.test(`${this.path}: every TypeScript block has its check, and the other way round`, async t => {
      const headings = this.programs.map(({ heading }) => heading)
      const counts = Object.fromEntries(headings.map(name => [name, headings.filter(other => other === name).length]))
      t.strictSame(counts, Object.fromEntries(Object.entries(checks).map(([name, list]) => [name, list.length])))
    })
    const indexes = new Map<string, number>()
    for (const { heading, file, code } of this.programs) {
      const index = indexes.get(heading) ?? 0
      indexes.set(heading, index + 1)
      t.test(`${heading}, block ${index + 1} runs`, { skip: /(?:REDIS|POSTGRES)_URL/.test(code) && skip }, async t => {
        if (code.includes("from 'tap'")) {
          // A test cannot run inside of another one.
          const output = execFileSync(process.execPath, ['--import', './test/setup/typescript.js', file], {
            encoding: 'utf8'
          })
          t.match(output, /^ok 10 - /m)
          t.notMatch(output, /^not ok/m)
          return
        }
        const { app } = await importFile<{ app: FastifyInstance }>(file)
        t.teardown(() => app.close())
        await checks[heading]?.[index]?.(t, app)
      })
    }
  }

  #copies = 0

  #find (text: string): Program {
    const program = this.programs.find(({ code }) => code.includes(text))
    if (program === undefined) throw new Error(`${this.path} has no program with ${text}`)
    return program
  }
}

async function importFile<P extends object> (file: string): Promise<P> {
  return await import(pathToFileURL(resolve(file)).href) as P
}

function programText (block: string): string {
  const imports = block.match(/^import .*\n/gm)?.join('') ?? ''
  const rest = block.replace(/^import .*\n/gm, '')
  const code = block.includes('const app = Fastify(') ? block : imports + PRELUDE + rest
  // Ports are for people; inject needs none, and a logger would write into the test's output.
  const names = [...code.matchAll(/^(?:function|const) (\w+)/gm)].map(([, name]) => name)
  const quiet = code.replace(/^await app\.listen.*$/m, '').replace('logger: true', 'logger: false')
  return `${quiet}\nexport { ${names.join(', ')} }\n`
}

/** Compiles the files of a folder with the settings of the repository, and returns the messages of the compiler. */
export function compile (folder: string): string {
  const root = resolve('.')
  const compilerOptions = { rootDir: root, allowUnreachableCode: true, jsx: 'react-jsx', types: ['node', 'svelte'] }
  writeFileSync(join(folder, 'tsconfig.json'),
    JSON.stringify({ extends: join(root, 'tsconfig.json'), compilerOptions, include: ['.'] }))
  try {
    return execFileSync(process.execPath, ['node_modules/typescript-7/bin/tsc', '-p', folder], { encoding: 'utf8', env })
  } catch (error) {
    return (error as { stdout: string }).stdout
  }
}

/** Returns the body of the response to a GET, without the comment that a stream sends before a late first event. */
export async function bodyOf (app: FastifyInstance, url: string, headers = {}): Promise<string> {
  const { body } = await app.inject({ url, headers })
  return body.replace(/^:\n\n/, '')
}

/** Opens an endless stream. `until` returns the text that was received, as soon as it ends with a given text. */
export async function open (
  t: Test,
  app: FastifyInstance,
  url: string,
  headers = {}
): Promise<{ until: (text: string) => Promise<string> }> {
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

/** Opens a page of this origin in Chromium. The modules of the package are below `/fastify-typed-sse/`. */
export async function openPage (t: Test, origin: string): Promise<Page> {
  const browser = await chromium.launch({ executablePath: need(CHROMIUM), args: FLAGS })
  t.teardown(() => browser.close())
  const page = await browser.newPage()
  await page.route('**/fastify-typed-sse/**', route => route.fulfill({
    path: `dist/${new URL(route.request().url()).pathname.slice('/fastify-typed-sse/'.length)}`,
    contentType: 'text/javascript'
  }))
  await page.goto(`${origin}/the-page`)
  return page
}
