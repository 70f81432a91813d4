import { openStreams } from '../../lib/testing.ts'
import { DocumentPrograms } from '../setup/document-programs.ts'

// The programs assert for themselves.
new DocumentPrograms('lib/testing/README.md').run({
  'A stream in a test': [
    async (t, app) => { t.ok(app) },
    async (t, app) => { t.strictSame(openStreams(app), []) }
  ],
  'A mock clock': [async (t, app) => { t.strictSame(openStreams(app), []) }]
})
