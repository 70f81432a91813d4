import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import ts from 'typescript'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

/** Every file below a folder, with its path from the root. */
const filesBelow = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => relative(root, join(entry.parentPath, entry.name)))

const lib = filesBelow('lib').filter(path => path.endsWith('.ts'))
/** `lib/log/memory.ts` is `log/memory`. */
const nameOf = (path: string): string => relative('lib', path).replace(/\.ts$/, '')
/** All that a file imports, for its types or for its values. */
const importsOf = (path: string): string[] => ts.preProcessFile(read(path)).importedFiles.map(file => file.fileName)

// Each folder of lib is a layer. A file imports only files of its own layer and of the layers before it. The files of
// `lib` itself are the first layer, except the entry points, which are the last one.
const LAYERS = [
  'lib',
  'wire',
  'schema',
  'contract',
  'log',
  'source',
  'metrics',
  'channel',
  'runs',
  'stream',
  'server',
  'protocols',
  'openapi',
  'inspector',
  'client',
  'cli',
  'testing',
  'entry points'
]
const ENTRY_POINTS = ['index', 'postgres', 'redis', 'sqlite', 'publisher', 'inspector', 'openapi', 'client', 'cli',
  'testing']

function layerOf (name: string): number {
  const folder = name.includes('/') ? name.split('/')[0]! : ENTRY_POINTS.includes(name) ? 'entry points' : 'lib'
  return LAYERS.indexOf(folder)
}

/** The files of lib that a file imports, by name. */
const ownImportsOf = (path: string): string[] =>
  importsOf(path).filter(specifier => specifier.startsWith('.')).map(specifier =>
    nameOf(join(dirname(path), specifier))
  )

t.test('every file of lib has its test', async t => {
  t.ok(lib.length > 0)
  const untested = lib.map(nameOf).filter(name => !existsSync(join(root, `test/${name}.test.ts`)))
  // Types have no code to run: their tests are compiled in test/types.
  t.ok(filesBelow('test/types').length > 0)
  // Texts have no code either: the page is tested as a whole, and in the browser.
  const isText = (name: string): boolean => name.startsWith('inspector/page/')
  t.strictSame(
    untested.filter(name =>
      !isText(name) && !ENTRY_POINTS.includes(name) &&
      !['server/types', 'contract/data-type', 'contract/event-types', 'log/log', 'channel/subscriber-context',
        'log/postgres/context', 'log/redis/client', 'log/redis/context', 'log/sqlite/database'].includes(name)
    ),
    []
  )
})

t.test('a file imports no file of a later layer, for its types either', async t => {
  for (const name of lib.map(nameOf)) t.not(layerOf(name), -1, `${name} belongs to a layer`)
  for (const path of lib) {
    t.strictSame(ownImportsOf(path).filter(name => layerOf(name) > layerOf(nameOf(path))), [], nameOf(path))
  }
})

t.test('no two files import each other, directly or through others', async t => {
  const graph = new Map(lib.map(path => [nameOf(path), ownImportsOf(path)]))
  const done = new Set<string>()
  const visit = (name: string, trail: readonly string[]): void => {
    if (trail.includes(name)) t.fail([...trail.slice(trail.indexOf(name)), name].join(' → '))
    else if (!done.has(name)) {
      for (const next of graph.get(name) ?? []) visit(next, [...trail, name])
      done.add(name)
    }
  }
  for (const name of graph.keys()) visit(name, [])
  t.equal(done.size, lib.length)
})

t.test('an entry point declares nothing', async t => {
  for (const name of ENTRY_POINTS.filter(name => name !== 'cli')) {
    const { statements } = ts.createSourceFile(`${name}.ts`, read(`lib/${name}.ts`), ts.ScriptTarget.Latest)
    t.ok(statements.length > 0)
    for (const [index, statement] of statements.entries()) {
      const named = ts.isExportDeclaration(statement) && statement.moduleSpecifier !== undefined &&
        statement.exportClause !== undefined && ts.isNamedExports(statement.exportClause)
      t.ok(named, `${name}: statement ${index + 1} re-exports by name`)
    }
  }
})

t.test('lib imports only the dependencies of package.json', async t => {
  const { dependencies, peerDependencies } = JSON.parse(read('package.json')) as Record<string, Record<string, string>>
  const promised = Object.keys({ ...dependencies, ...peerDependencies })
  for (const path of lib) {
    const foreign = importsOf(path).filter(specifier => !specifier.startsWith('.') && !specifier.startsWith('node:'))
    t.strictSame(
      foreign.filter(specifier => !promised.some(name => specifier === name || specifier.startsWith(`${name}/`))),
      [],
      path
    )
  }
})

t.test('the files that make frames do not import Fastify', async t => {
  for (const path of ['lib/wire/encode.ts', 'lib/contract/contract.ts', 'lib/contract/event-types.ts']) {
    t.strictSame(importsOf(path).filter(specifier => /fastify/.test(specifier)), [], path)
  }
})

t.test('no file is named util, helper or common', async t => {
  const paths = ['lib', 'test', 'example'].flatMap(filesBelow)
  const vague = (path: string): boolean =>
    path.split(/[/\\]/).some(part => /^(utils?|helpers?|common)$/i.test(basename(part).replace(/\..*$/, '')))
  t.strictSame(paths.filter(vague), [])
})

t.test('a file of lib has at most 280 lines', async t => {
  for (const path of lib) {
    const lines = read(path).split('\n').length - 1
    t.ok(lines <= 280, `${path} has ${lines} lines`)
  }
})

t.test('CONTRIBUTING lists the layers in their order', async t => {
  const listed = [...read('.github/CONTRIBUTING.md').matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) =>
    name!.replace(/^lib\//, '').replace(/\/$/, '')
  )
  t.strictSame(listed.filter(name => LAYERS.includes(name)), LAYERS.slice(1, -1))
})

t.test('CONTRIBUTING lists the rules that test titles name', async t => {
  const titles = filesBelow('test').filter(path => path.endsWith('.test.ts')).map(read).join('')
  const named = new Set([...titles.matchAll(/['"`]([A-Z]\d+): /g)].map(([, id]) => id!))
  const rows = read('.github/CONTRIBUTING.md').split('\n').filter(line => /^\| [A-Z]\d+ \|/.test(line))
  t.strictSame(rows.flatMap(row => row.match(/\b[A-Z]\d+(?= \|)/g) ?? []).toSorted(), [...named].toSorted())
})
