import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import ts from 'typescript'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

/** Every file below a folder, with its path from the root. */
const filesBelow = (folder: string): string[] => readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
  .filter(entry => entry.isFile())
  .map(entry => relative(root, join(entry.parentPath, entry.name)))

const lib = filesBelow('lib').filter(path => path.endsWith('.ts'))
/** `lib/log/memory.ts` is `log/memory`. */
const nameOf = (path: string): string => relative('lib', path).replace(/\.ts$/, '')
/** All that a file imports, for its types or for its values. */
const importsOf = (path: string): string[] => ts.preProcessFile(read(path)).importedFiles.map(file => file.fileName)

// A file imports only what stands before it.
const ORDER = [
  'clock', 'errors', 'thrown', 'logged', 'encode', 'formless', 'serialise', 'json-schema', 'textual', 'fingerprint',
  'subschema', 'part', 'shape', 'declared-part', 'schema', 'foreign', 'events', 'listeners', 'scope', 'life', 'fifo', 'log/log',
  'log/epoch', 'log/memory', 'log/told', 'log/checks', 'log/check-event-log', 'options', 'histogram', 'diagnostics',
  'statistics', 'reply-state', 'account', 'declared', 'ajv-options', 'routes', 'log/redis/piece', 'log/redis/scripts',
  'log/redis/sequence', 'log/redis/outbox', 'log/redis/client', 'log/redis/commands', 'log/redis/bell',
  'log/redis/redis-log', 'problem', 'last-event-id', 'asked', 'source', 'as-data', 'term', 'queue', 'turn', 'pump',
  'channel/cursor', 'channel/chunk', 'channel/review', 'channel/round', 'channel/selection', 'channel/opening',
  'channel/party', 'channel/latest', 'channel/settings', 'channel/feed', 'channel/follower', 'channel/mark',
  'channel/following', 'channel/iteration', 'channel/subscription', 'channel/producer', 'channel/topic',
  'channel/channel', 'channel/channels', 'control-log', 'disconnections', 'drain', 'sessions', 'streams',
  'registrations', 'connection', 'headers', 'body', 'head', 'admission', 'writer', 'callbacks', 'stream', 'hub',
  'types', 'plugin', 'index', 'redis', 'inspector/report', 'inspector/census', 'inspector/shortlist',
  'inspector/changes', 'inspector/view', 'inspector/watch', 'inspector/tails', 'inspector/guard',
  'inspector/page/ending', 'inspector/page/figures', 'inspector/page/format', 'inspector/page/markup',
  'inspector/page/script', 'inspector/page/style', 'inspector/page/table', 'inspector/page/tail', 'inspector/page',
  'inspector/inspector', 'inspector', 'openapi/components', 'openapi/dialect', 'openapi/item', 'openapi/operation',
  'openapi/transform', 'openapi', 'client/stream-error', 'client/callback', 'client/page-event', 'client/misuse',
  'client/refusal', 'client/redirect', 'client/parser', 'client/place', 'client/backoff', 'client/watchdog',
  'client/reading', 'client/request', 'client/connection', 'client/form', 'client/event-stream', 'client/shared',
  'client/connect', 'client/validate', 'client', 'cli/usage-error', 'cli/printable', 'cli/reason', 'cli/terminal',
  'cli/arguments', 'cli/target', 'cli/layout', 'cli/help', 'cli/tail', 'cli/doctor/arrivals', 'cli/doctor/transport',
  'cli/doctor/exchange', 'cli/doctor/examination', 'cli/doctor/comparison', 'cli/doctor/finding', 'cli/doctor/answer',
  'cli/doctor/arrival', 'cli/doctor/compression', 'cli/doctor/silence', 'cli/doctor/protocol',
  'cli/doctor/head-request', 'cli/doctor/reconnect', 'cli/doctor/cors', 'cli/doctor/report', 'cli/doctor', 'cli/run',
  'cli', 'testing/payload', 'testing/line', 'testing/inject-fetch', 'testing/wait', 'testing/handover',
  'testing/injected-stream', 'testing/inject-stream', 'testing/open-streams', 'testing'
]

t.test('every file of lib has its test', async t => {
  t.ok(lib.length > 0)
  const untested = lib.map(nameOf).filter(name => !existsSync(join(root, `test/${name}.test.ts`)))
  // Types leave nothing to run: they have their tests among those that are compiled.
  t.ok(filesBelow('test/types').length > 0)
  // So do texts: those of a page have it where the page is, and in the browser.
  const isText = (name: string): boolean => name.startsWith('inspector/page/')
  t.strictSame(untested.filter(name => !isText(name) && !['types', 'log/log', 'channel/party', 'log/redis/client'].includes(name)), [])
})

t.test('every file of lib has its place in the order', async t => {
  t.strictSame(lib.map(nameOf).sort(), [...ORDER].sort())
})

t.test('imports point one way, those of types too', async t => {
  for (const path of lib) {
    const own = importsOf(path).filter(specifier => specifier.startsWith('.')).map(specifier => nameOf(join(dirname(path), specifier)))
    const place = ORDER.indexOf(nameOf(path))
    t.strictSame(own.filter(name => !ORDER.slice(0, place).includes(name)), [], `${nameOf(path)} imports only what stands before it`)
  }
})

t.test('lib imports only what package.json promises to bring', async t => {
  const { dependencies, peerDependencies } = JSON.parse(read('package.json')) as Record<string, Record<string, string>>
  const promised = Object.keys({ ...dependencies, ...peerDependencies })
  for (const path of lib) {
    const foreign = importsOf(path).filter(specifier => !specifier.startsWith('.') && !specifier.startsWith('node:'))
    t.strictSame(foreign.filter(specifier => !promised.some(name => specifier === name || specifier.startsWith(`${name}/`))), [], path)
  }
})

t.test('what makes frames knows nothing of Fastify', async t => {
  for (const path of ['lib/encode.ts', 'lib/events.ts']) t.strictSame(importsOf(path).filter(specifier => /fastify/.test(specifier)), [], path)
})

t.test('index is a table of contents', async t => {
  const { statements } = ts.createSourceFile('index.ts', read('lib/index.ts'), ts.ScriptTarget.Latest)
  t.ok(statements.length > 0)
  for (const statement of statements) {
    const named = ts.isExportDeclaration(statement) && statement.moduleSpecifier !== undefined && statement.exportClause !== undefined && ts.isNamedExports(statement.exportClause)
    t.ok(named, `it re-exports by name, as statement ${statements.indexOf(statement) + 1} does`)
  }
})

t.test('a file is named after what it holds', async t => {
  const paths = ['lib', 'test', 'example'].flatMap(filesBelow)
  const vague = (path: string): boolean => path.split(/[/\\]/).some(part => /^(utils?|helpers?|common)$/i.test(basename(part).replace(/\..*$/, '')))
  t.strictSame(paths.filter(vague), [])
})

t.test('a file of lib is short enough to be read', async t => {
  for (const path of lib) {
    const lines = read(path).split('\n').length - 1
    t.ok(lines <= 260, `${path} has ${lines} lines`)
  }
})

t.test('CONTRIBUTING shows the tree and the order as they are', async t => {
  const text = read('.github/CONTRIBUTING.md')
  t.strictSame(lib.filter(path => !new RegExp(`^ +${basename(path)} `, 'm').test(text)), [], 'every file stands in the tree')
  t.ok(text.replaceAll('\n', ' ').includes(`${ORDER.join(', ')}.`), 'the order is the one that this test holds')
})
