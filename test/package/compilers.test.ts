import { readFileSync } from 'node:fs'
import t from 'tap'
import { KINDS, kindProgram, packagesOf, type Kind } from '../setup/kind-programs.ts'
import { codeBlocksOf } from '../setup/markdown.ts'
import { pack, Project } from '../setup/project.ts'

// The declarations of this package, as npm packs it, under each compiler and each way to resolve modules, with
// `skipLibCheck: false`. With WHOLE_MATRIX=true each compiler resolves modules in each way, with both settings, and
// compiles the programs of all kinds of schemas in one of them. Else there are four combinations, in which each value
// occurs. The others compile the programs whose schemas cost the compiler little.
const WHOLE = process.env.WHOLE_MATRIX === 'true'
t.jobs = 2
t.setTimeout(WHOLE ? 3_600_000 : 600_000)

interface Resolution { title: string, extension: 'mts' | 'cts', options: object, since?: string }

const RESOLUTIONS: readonly Resolution[] = [
  { title: 'nodenext', extension: 'mts', options: { module: 'nodenext' } },
  { title: 'bundler', extension: 'mts', options: { module: 'esnext', moduleResolution: 'bundler' } },
  { title: 'node16', extension: 'mts', options: { module: 'node16' } },
  // The package is an ES module. TypeScript 5.8 and newer know that require() loads it; `node16` does not.
  { title: 'nodenext in CommonJS', extension: 'cts', options: { module: 'nodenext' }, since: '5.8' }
]

const COMPILERS = { 5.4: 'typescript-5.4', 5.9: 'typescript-5.9', '6.0': 'typescript', '7.0': 'typescript-7' }

// Declarations of other packages that do not compile, by the version of TypeScript.
const FOREIGN: Partial<Record<string, RegExp>> = {
  // The declarations of ArkType's regular expressions take a newer TypeScript.
  5.4: /node_modules\/arkregex\//
}

// A CommonJS program that any compiler and any setting accept: import() loads the package, and types say what they are.
const COMMON_JS = `
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import type { EventOf } from 'fastify-typed-sse' with { 'resolution-mode': 'import' }

const events = { tick: Type.Object({ n: Type.Integer() }) }

async function * ticks (): AsyncGenerator<EventOf<typeof events>> {
  yield { event: 'tick', data: { n: 1 } }
  // @ts-expect-error data of the wrong type
  yield { event: 'tick', data: { n: 'one' } }
}

export async function start () {
  const app = Fastify()
  const { default: sse, EventQueue } = await import('fastify-typed-sse')
  await app.register(sse)
  const queue = new EventQueue<typeof events>()
  queue.push({ event: 'tick', data: { n: 1 } })
  app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse(ticks()))
  app.get('/queue', { schema: { sse: events } }, (_request, reply) => reply.sse(queue))
}
`

// Every entry point, whose declarations the compiler then checks.
const entryPoints = Object.keys((JSON.parse(readFileSync('package.json', 'utf8')) as { exports: object }).exports)
  .filter(name => !name.endsWith('.json'))
const ENTRY_POINTS = entryPoints
  .map((name, index) => `export * as entry${index} from 'fastify-typed-sse${name.slice(1)}'\n`).join('')

const README = codeBlocksOf('README.md').find(({ code }) => code.includes("app.get('/sse'"))!.code

const LIGHT = ['@sinclair/typebox 0.34', 'type provider 5', 'JSON Schema']
const isLight = (name: string): boolean => LIGHT.includes(name)

// The native compiler is fast enough for all combinations. The others take the values of exactOptionalPropertyTypes in
// turn.
const combinations = Object.entries(COMPILERS).flatMap(([version, compiler]) =>
  RESOLUTIONS.filter(({ since = '0' }) => version >= since).flatMap((resolution, index) =>
    (version === '7.0' ? [true, false] : [index % 2 === 0]).map(exact => ({ version, compiler, resolution, exact }))))

const DIAGONAL = ['5.4 bundler false', '5.9 nodenext in CommonJS false', '6.0 node16 true', '7.0 nodenext true']
type Combination = typeof combinations[number]
const isDiagonal = ({ version, resolution, exact }: Combination): boolean =>
  DIAGONAL.includes(`${version} ${resolution.title} ${String(exact)}`)
const chosen = combinations.filter(combination => WHOLE || isDiagonal(combination))

const tarball = await pack(t, '.')
const packages = [...packagesOf(Object.values(KINDS)), 'ioredis', '@fastify/swagger', '@cfworker/json-schema']

t.test('each value of the matrix is in the diagonal', async t => {
  const diagonal = combinations.filter(isDiagonal)
  t.strictSame(new Set(diagonal.map(({ version }) => version)), new Set(Object.keys(COMPILERS)))
  t.strictSame(new Set(diagonal.map(({ resolution }) => resolution)), new Set(RESOLUTIONS))
  t.strictSame(new Set(diagonal.map(({ exact }) => exact)), new Set([true, false]))
})

for (const { version, compiler, resolution: { title, extension, options }, exact } of chosen) {
  t.test(`TypeScript ${version}, ${title}, exactOptionalPropertyTypes: ${String(exact)}`, async t => {
    const project = await Project.create(t, tarball, packages)
    // The native compiler is fast enough for all.
    const isFull = version === '7.0' || (WHOLE && title === 'nodenext')
    const kinds = Object.entries(KINDS).filter(([name]) => isFull || isLight(name))
    const files: Array<[name: string, text: string]> = [
      ['common-js.cts', COMMON_JS],
      [`entry-points.${extension}`, ENTRY_POINTS],
      ...kinds.map(([name, kind]: [string, Kind]): [string, string] =>
        [`${name.replace(/\W+/g, '-')}.${extension}`, kindProgram(kind)])
    ]
    // It has an `await` at the top level.
    if (extension === 'mts') files.push(['readme.mts', README])
    for (const [name, text] of files) project.write(name, text)
    const messages = await project.compile(files.map(([name]) => name),
      { ...options, exactOptionalPropertyTypes: exact, noEmit: true }, compiler)
    const foreign = FOREIGN[version]
    t.strictSame(messages.filter(message => foreign === undefined || !foreign.test(message.split('(')[0]!)), [])
  })
}
