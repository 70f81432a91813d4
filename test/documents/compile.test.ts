import { existsSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import t from 'tap'
import { compile, DocumentPrograms } from '../setup/document-programs.ts'
import { codeBlocksOf, MARKDOWN_FILES } from '../setup/markdown.ts'

t.setTimeout(180_000)

const withPrograms = MARKDOWN_FILES.filter(path => codeBlocksOf(path).some(({ language }) => language === 'ts'))

t.test('every document with programs has its test', async t => {
  t.ok(withPrograms.length > 0)
  // A README has the name of its folder.
  const nameOf = (path: string): string => basename(path) !== 'README.md'
    ? basename(path, '.md')
    : dirname(path) === '.' ? 'readme' : basename(dirname(path))
  t.strictSame(withPrograms.filter(path => !existsSync(`test/documents/${nameOf(path)}.test.ts`)), [])
})

t.test('every TypeScript block compiles, and the component of the typed client', async t => {
  const folder = '.tap/documents/compile'
  const documents = withPrograms.map(path => new DocumentPrograms(path, `${folder}/${path.replace(/\W/g, '-')}`))
  documents.find(({ path }) => path === 'lib/client/README.md')!.writeComponent("'/import'")
  t.equal(compile(folder), '')
})
