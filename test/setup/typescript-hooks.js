import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

// Compiled files are kept here, below their own path, for the processes that come later.
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const CACHE = join(ROOT, '.tap', 'typescript')

/** A hook of node:module. The source map makes coverage and stack traces speak of the TypeScript file. */
export async function load (url, context, next) {
  if (!/^file:.*\.ts$/.test(url) || url.includes('/node_modules/')) return next(url, context)
  const file = fileURLToPath(url)
  return { format: 'module', source: await compiled(file, url), shortCircuit: true }
}

async function compiled (file, url) {
  const path = relative(ROOT, file)
  // A file outside of the repository, as tests write them, is compiled each time.
  const kept = path.startsWith('..') ? undefined : join(CACHE, `${path.split(sep).join('/')}.js`)
  if (kept !== undefined) {
    const [source, output] = await Promise.all([stat(file), stat(kept).catch(() => undefined)])
    if (output !== undefined && output.mtimeMs > source.mtimeMs) return readFile(kept, 'utf8')
  }
  const { transform } = await import('esbuild')
  const { code } = await transform(await readFile(file, 'utf8'), { loader: 'ts', format: 'esm', target: 'es2023', sourcemap: 'inline', sourcefile: url, tsconfigRaw: { compilerOptions: { target: 'es2023', verbatimModuleSyntax: true } } })
  if (kept !== undefined) {
    // Written whole or not at all: other processes read it.
    await mkdir(dirname(kept), { recursive: true })
    const draft = `${kept}.${process.pid}`
    await writeFile(draft, code)
    await rename(draft, kept)
  }
  return code
}
