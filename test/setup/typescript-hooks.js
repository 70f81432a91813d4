import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

// Compiled files are stored here, under their own path, for later processes.
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const CACHE = join(ROOT, '.tap', 'typescript')
const OPTIONS = {
  loader: 'ts',
  format: 'esm',
  target: 'es2023',
  sourcemap: 'inline',
  tsconfigRaw: { compilerOptions: { target: 'es2023', verbatimModuleSyntax: true } }
}

/** A hook of node:module. With the source map, coverage and stack traces refer to the lines of the TypeScript file. */
export function load (url, context, next) {
  if (!/^file:.*\.ts$/.test(url) || url.includes('/node_modules/')) return next(url, context)
  return { format: 'module', source: compiled(fileURLToPath(url), url), shortCircuit: true }
}

function compiled (file, url) {
  const path = relative(ROOT, file)
  // A file outside of the repository is compiled each time.
  if (path.startsWith('..')) return compile(file, url)
  const kept = join(CACHE, `${path}.js`)
  if ((timeOf(kept) ?? 0) > timeOf(file)) return readFileSync(kept, 'utf8')
  const code = compile(file, url)
  // Written atomically, because other processes read it.
  const draft = `${kept}.${process.pid}`
  mkdirSync(dirname(kept), { recursive: true })
  writeFileSync(draft, code)
  renameSync(draft, kept)
  return code
}

const timeOf = file => statSync(file, { throwIfNoEntry: false })?.mtimeMs

function compile (file, url) {
  // Loaded on demand: most processes find everything compiled.
  const { transformSync } = createRequire(import.meta.url)('esbuild')
  return transformSync(readFileSync(file, 'utf8'), { ...OPTIONS, sourcefile: url }).code
}
