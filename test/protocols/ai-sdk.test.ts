import { readFileSync } from 'node:fs'
import t from 'tap'
import * as preset from '../../lib/protocols/ai-sdk.ts'

t.test('the page of the AI SDK names everything that the preset exports', t => {
  const page = readFileSync('lib/protocols/ai-sdk.md', 'utf8')
  const names = Object.keys(preset)
  t.strictSame(names, ['chat', 'uiMessageErrorHandler', 'uiMessageEvents', 'uiMessageHeaders', 'uiMessageOptions', 'uiMessages'])
  for (const name of names) t.match(page, name)
  t.end()
})
