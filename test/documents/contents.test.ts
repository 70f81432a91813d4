import { readFileSync } from 'node:fs'
import t from 'tap'

// A reader searches the contents for a word and is one click from the place.
const WORDS = ['auth', 'CORS', 'proxy', 'cancel an LLM', 'progress', 'notifications', 'resume', 'test', 'deploy',
  'nodes', 'presence', 'transactions']

t.test('the contents of the README link each word to its place', async t => {
  const contents = /^## Contents\n([^]*?)^## /m.exec(readFileSync('README.md', 'utf8'))?.[1] ?? ''
  const rows = contents.split('\n').filter(line => line.startsWith('|'))
  for (const word of WORDS) {
    const linked = rows.some(row =>
      [...row.matchAll(/\[([^\]]+)\]\([^)]+\)/g)].some(([, text = '']) => text.includes(word))
    )
    t.ok(linked, word)
  }
})
