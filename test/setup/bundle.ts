import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { FastifyInstance } from 'fastify'

/** The client, bundled as for a site: the entry, its imports, and the parts that are loaded on demand. */
export interface Bundle {
  /** The files by name. */
  readonly files: ReadonlyMap<string, string>
  /** The names of the files that a page loads with the entry. */
  readonly loaded: readonly string[]
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** Bundles a file of this repository, in memory, without React. */
export const bundleFile = (file: string) =>
  build({
    absWorkingDir: ROOT,
    entryPoints: [file],
    bundle: true,
    splitting: true,
    format: 'esm',
    minify: true,
    target: 'es2022',
    outdir: '.',
    write: false,
    metafile: true,
    external: ['react']
  })

export async function bundle (entry = 'lib/client.ts'): Promise<Bundle> {
  const { outputFiles, metafile } = await bundleFile(entry)
  const loaded = new Set([basename(entry).replace(/ts$/, 'js')])
  for (const name of loaded) {
    for (const { path, kind, external } of metafile.outputs[name]!.imports) {
      if (kind === 'import-statement' && external !== true) loaded.add(path)
    }
  }
  return { files: new Map(outputFiles.map(({ path, text }) => [path.slice(ROOT.length), text])), loaded: [...loaded] }
}

/** Serves the bundle, and an empty page at `/`, for scripts that `import('/client.js')`. */
export async function serveClient (app: FastifyInstance): Promise<void> {
  const { files } = await bundle()
  for (const [name, text] of files) app.get(`/${name}`, (_request, reply) => reply.type('text/javascript').send(text))
  app.get('/',
    (_request, reply) =>
      reply.type('text/html').send('<!doctype html><link rel="icon" href="data:,"><title>A page</title>'))
}
