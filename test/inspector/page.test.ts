import { ESLint } from 'eslint'
import t from 'tap'
import { files } from '../../lib/inspector/page.ts'

const { 'inspector.html': markup, 'inspector.css': style, ...modules } = files

t.test('all files that the page loads are included', async t => {
  const links = [...markup.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, link]) => link!).filter(link =>
    !link.startsWith('data:')
  )
  t.strictSame(links, ['inspector.css', 'inspector.js'])
  for (const [name, text] of Object.entries(modules)) {
    for (const [, imported] of text.matchAll(/from '\.\/([^']+)'/g)) {
      t.ok(Object.hasOwn(modules, imported!), `${imported} of ${name}`)
    }
  }
  t.notMatch(style, /url\(|@import/)
})

t.test('the elements that scripts select exist', async t => {
  const selected = Object.values(modules).flatMap(text =>
    [...text.matchAll(/querySelector\('#([\w-]+)'\)/g)].map(([, id]) => id!)
  )
  t.ok(selected.length > 5)
  t.strictSame(selected.filter(id => !markup.includes(`id="${id}"`)), [])
})

t.test('no text becomes markup or script', async t => {
  for (const [name, text] of Object.entries(modules)) {
    t.notMatch(text, /innerHTML|outerHTML|insertAdjacent|document\.write|eval|new Function|srcdoc/, name)
  }
  t.notMatch(markup, /<script(?![^>]* src=)|<style|\son\w+=|\sstyle=/)
})

t.test('the scripts of the page pass the linter', async t => {
  const eslint = new ESLint({
    overrideConfig: { languageOptions: { globals: { document: false, EventSource: false } } }
  })
  for (const [name, text] of Object.entries(modules)) {
    const [result] = await eslint.lintText(text, { filePath: `inspector-page-${name}` })
    t.strictSame(result!.messages.map(({ line, message }) => `${line}: ${message}`), [], name)
  }
})
