import t from 'tap'
import { UsageError } from '../../lib/cli/usage-error.ts'

t.test('an error of usage has a code and a name, as every error has', async t => {
  const error = new UsageError('There is no URL')
  t.ok(error instanceof Error)
  t.match(error, { name: 'UsageError', code: 'FST_SSE_USAGE', message: 'There is no URL' })
})
