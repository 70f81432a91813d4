import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { KIND_OUTPUT, KINDS, kindProgram } from '../setup/kind-programs.ts'
import { codeBlocksOf } from '../setup/markdown.ts'
import { env, pack, Project, type Package } from '../setup/project.ts'

// Projects that have this package, as npm packs it, and one library of schemas. `npm run build` has compiled it.

t.setTimeout(900_000)
const tarball = await pack(t, '.')
// The native compiler takes a fifth of the time. The matrix of compilers has the others.
const compiler = 'typescript-7'

const TYPEBOXES = ['@sinclair/typebox', 'typebox']

for (const [name, kind] of Object.entries(KINDS)) {
  t.test(`${name} alone: a route, a queue, a channel, a client and a test stream compile and run`, async t => {
    const project = await Project.create(t, tarball, kind.packages)
    const output = await project.run('program.ts', kindProgram(kind), { compiler, lib: ['es2023'] })
    t.equal(output, KIND_OUTPUT)
    for (const typebox of TYPEBOXES.filter(name => !kind.packages.includes(name))) {
      t.throws(() => project.resolve(typebox), { code: 'MODULE_NOT_FOUND' }, `without ${typebox}`)
    }
  })
}

t.test('without a library of schemas, the entry points load that need none', async t => {
  const project = await Project.create(t, tarball, [])
  const names = ['', '/client', '/inspector', '/openapi', '/publisher', '/testing'].map(name => `fastify-typed-sse${name}`)
  const program = names.map(name => `console.log(Object.keys(await import('${name}')).length > 0)`).join('\n')
  t.equal(await project.run('program.ts', `${program}\nexport {}`, { compiler }), 'true\n'.repeat(names.length))
})

t.test('CommonJS: the program that TypeScript writes loads the package by require()', async t => {
  const kind = KINDS['@sinclair/typebox 0.34']!
  const project = await Project.create(t, tarball, kind.packages, 'commonjs')
  t.equal(await project.run('program.cts', kindProgram(kind), { compiler }), KIND_OUTPUT)
})

const [readme = ''] = codeBlocksOf('README.md').map(({ code }) => code).filter(code => code.includes("app.get('/sse'"))

/** Compiles and starts the first server of the README, and returns its response to a request. */
async function serve (t: Test, packages: readonly Package[], program: string): Promise<Response> {
  const project = await Project.create(t, tarball, packages)
  project.write('server.ts', program
    .replace('300, undefined', '1, undefined')
    .replace('await app.listen({ port: 3000 })', "console.log(await app.listen({ port: 0, host: '127.0.0.1' }))"))
  t.strictSame(await project.compile(['server.ts'], {}, compiler), [])
  const server = spawn(process.execPath, [join(project.folder, 'server.js')], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(server, 'exit').then(([code]) => { throw new Error(`The server ended with ${String(code)}`) })
  t.teardown(async () => {
    if (server.kill()) await ended.catch(() => {})
  })
  const [url] = await Promise.race([once(createInterface(server.stdout), 'line') as Promise<[string]>, ended])
  return await fetch(`${url}/sse`)
}

const ten = Array.from({ length: 10 }, (_, index) =>
  `data: {"status":200,"resMsg":"server sent event message: ${index + 1}"}\n\n`).join('')

t.test('the first server of the README runs with its own packages alone', async t => {
  const response = await serve(t, ['@sinclair/typebox'], readme)
  t.match(response.headers.get('content-type'), /^text\/event-stream/)
  t.equal(await response.text(), ten)
})

t.test('the first server of the README runs with the newest type provider, without @sinclair/typebox', async t => {
  const program = readme
    .replace("import { Type } from '@sinclair/typebox'",
      "import { Type, type TypeBoxTypeProvider } from '@fastify/type-provider-typebox'")
    .replace('Fastify()', 'Fastify().withTypeProvider<TypeBoxTypeProvider>()')
    .replace('schema: {', 'schema: {\n    querystring: Type.Object({ from: Type.Integer({ default: 1 }) }),')
    .replace('let n = 1', 'let n = request.query.from')
  const packages: Package[] = ['typebox', ['@fastify/type-provider-typebox', 'type-provider-typebox-6']]
  t.equal(await (await serve(t, packages, program)).text(), ten)
})
