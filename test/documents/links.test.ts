import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { anchorsOf, linksOf, MARKDOWN_FILES, proseOf } from '../setup/markdown.ts'

/** Returns the path of a link's target from the root. */
const resolved = (from: string, target: string): string => join(dirname(from), target)

t.test('every link of a document leads to a file, and to a heading of it', async t => {
  let links = 0
  for (const path of MARKDOWN_FILES) {
    for (const link of linksOf(path).filter(link => !/^https?:/.test(link))) {
      links++
      const [target = '', anchor] = link.split('#')
      const file = target === '' ? path : resolved(path, target)
      if (!existsSync(file)) t.fail(`${path}: ${link} leads to no file`)
      else if (anchor !== undefined && !anchorsOf(file).includes(anchor)) t.fail(`${path}: ${link} leads to no heading`)
    }
  }
  t.ok(links > 20, `${links} links`)
})

t.test('every path in the text of a document exists', async t => {
  for (const path of MARKDOWN_FILES) {
    const paths = [...proseOf(path).matchAll(/`((?:lib|test|example|\.github|\.ci)\/[\w./-]+)`/g)].map((
      [, named = '']
    ) => named)
    t.strictSame(paths.filter(named => !existsSync(named)), [], path)
  }
})

t.test('every document is linked from the README, directly or through others', async t => {
  const reached = new Set<string>()
  const visit = (path: string): void => {
    if (reached.has(path) || !path.endsWith('.md') || !existsSync(path)) return
    reached.add(path)
    for (const link of linksOf(path).filter(link => !/^https?:/.test(link))) visit(resolved(path, link.split('#')[0]!))
  }
  visit('README.md')
  t.strictSame(MARKDOWN_FILES.filter(path => !reached.has(path)), [])
})
