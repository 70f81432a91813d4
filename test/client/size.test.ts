import { isBuiltin } from 'node:module'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import ts from 'typescript'
import { bundle, bundleFile, type Bundle } from '../setup/bundle.ts'

// The cost of `connect` for a page: the files that it loads first. A third of it distinguishes mistakes of the
// program from failures of the network, which a client would repeat for ever, and closes the connection of a page in
// the back/forward cache.
const LIMIT = 6_550

// The cost of `useStream` for a page that has React and `connect`.
const HOOK_LIMIT = 600

/** Returns the size of the files that a page loads first, minified and compressed. */
const sizeOf = ({ files, loaded }: Bundle): number =>
  loaded.reduce((sum, name) => sum + gzipSync(files.get(name)!, { level: 9 }).length, 0)

t.test('the client is at most 6.6 kB', async t => {
  const size = sizeOf(await bundle())
  t.comment(`${size} bytes of ${LIMIT}`)
  t.ok(size <= LIMIT, `${size} bytes, minified and compressed, are at most ${LIMIT}`)
  t.ok(size > 1_000, 'all of it was counted')
})

t.test('the hook for React adds at most 0.6 kB to the client', async t => {
  const size = sizeOf(await bundle('lib/client/react.ts')) - sizeOf(await bundle('lib/client/connect.ts'))
  t.comment(`${size} bytes of ${HOOK_LIMIT}`)
  t.ok(size <= HOOK_LIMIT, `${size} bytes, minified and compressed, are at most ${HOOK_LIMIT}`)
  t.ok(size > 300, 'all of it was counted')
})

t.test('redirects, sharing and JSON lines are loaded on demand', async t => {
  const { files, loaded } = await bundle()
  t.strictSame(
    [...files.keys()].filter(name => !loaded.includes(name)).map(name => name.replace(/-\w+\.js$/, '')).sort(),
    ['json-lines', 'redirect', 'shared']
  )
})

/** Returns every identifier of a program that is no property. */
function namesIn (text: string): Set<string> {
  const names = new Set<string>()
  const visit = (node: ts.Node): void => {
    const { parent } = node
    if (ts.isIdentifier(node) && !(ts.isPropertyAccessExpression(parent) && parent.name === node) &&
      !(ts.isPropertyAssignment(parent) && parent.name === node)) names.add(node.text)
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile('client.js', text, ts.ScriptTarget.Latest, true))
  return names
}

t.test('the client uses no API of Node', async t => {
  const { files } = await bundle()
  for (const [name, text] of files) {
    const imported = ts.preProcessFile(text).importedFiles.map(file => file.fileName)
    t.strictSame(imported.filter(specifier => isBuiltin(specifier) || !specifier.startsWith('.')), [],
      `${name} imports only what is beside it`)
    const names = namesIn(text)
    t.strictSame(
      ['process', 'Buffer', 'global', 'require', 'module', '__dirname', 'setImmediate'].filter(word => names.has(word)),
      [],
      `${name} uses only what a browser has`
    )
  }
  t.ok(namesIn([...files.values()].join('\n')).has('TextDecoder'), 'names are found')
})

// The entry points that check events: the package that each loads, and its size in kB, minified and compressed, with
// that package. The README names the sizes.
const CHECKS: Array<[entry: string, packages: string[], size: number]> = [
  ['validate', ['@sinclair/typebox'], 27],
  ['validate/typebox', ['typebox'], 16],
  ['validate/json-schema', ['@cfworker/json-schema'], 8],
  ['validate/standard', [], 0.5],
  ['poll', [], 2]
]

t.test('each check of events loads at most one package, and generates no code', async t => {
  for (const [entry, packages, size] of CHECKS) {
    const { outputFiles, metafile } = await bundleFile(`lib/client/${entry}.ts`)
    const loaded = Object.keys(metafile.inputs).flatMap(path => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? [])
    t.strictSame([...new Set(loaded)], packages, entry)
    const [{ text, contents }] = outputFiles as [typeof outputFiles[number]]
    t.ok(gzipSync(contents, { level: 9 }).length <= size * 1000, `${entry} is at most ${size} kB`)
    t.notMatch(text, /\beval\(|\bFunction\(/, `${entry} runs under a Content Security Policy`)
  }
})
