import { readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import ts from 'typescript'
import * as client from '../lib/client.ts'

const lib = fileURLToPath(new URL('../lib', import.meta.url))

t.test('the client exports exactly these names', async t => {
  t.strictSame(Object.keys(client).sort(), ['StreamError', 'connect', 'withTexts'])
})

/** Returns the imports of a file at run time, without types. */
function imported (path: string): string[] {
  const { outputText } = ts.transpileModule(readFileSync(path, 'utf8'), {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ESNext, verbatimModuleSyntax: true }
  })
  return ts.preProcessFile(outputText).importedFiles.map(({ fileName }) => fileName)
}

t.test('the client imports no package and no module of Node', async t => {
  const files = new Set([join(lib, 'client.ts')])
  for (const path of files) {
    for (const name of imported(path)) {
      t.ok(name.startsWith('.'), `${relative(lib, path)} imports ${name}`)
      files.add(join(dirname(path), name))
    }
  }
  const names = [...files].map(path => relative(lib, path).replaceAll('\\', '/'))
  t.ok(names.includes('client/shared.ts'))
  t.strictSame(names.filter(name => !name.startsWith('client')).sort(), ['schema/json-schema.ts',
    'schema/text-schema.ts', 'schema/texts.ts', 'wire/protocol.ts'],
  'with the server it shares the choice between text and JSON and the protocol')
  t.notOk(names.includes('client/validate.ts'), 'validation is a separate entry point')
})
