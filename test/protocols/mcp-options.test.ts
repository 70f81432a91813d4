import t from 'tap'
import { resolveMcp, type McpOptions } from '../../lib/protocols/mcp-options.ts'
import { rowsOf } from '../setup/markdown.ts'

const connect = (): void => {}

t.test('options have their defaults', async t => {
  const { sessionId, ...options } = resolveMcp({ connect })
  t.strictSame(options, {
    connect,
    path: '/mcp',
    name: 'mcp',
    history: undefined,
    leaseDuration: undefined,
    authorize: undefined,
    authInfo: undefined,
    sessionTimeout: 1_800_000,
    maxSessions: 1_000,
    retry: 1_000,
    allowedHosts: undefined,
    allowedOrigins: []
  })
  t.match(sessionId({} as never), /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/)
})

t.test('FST_SSE_OPTION names an option that is unknown or invalid', async t => {
  const cases: Array<[string, unknown]> = [
    ['connect', undefined], ['connect', 'server'], ['path', 'mcp'], ['path', 1], ['name', 1], ['history', []],
    ['leaseDuration', '1'], ['sessionId', 'id'], ['authorize', true], ['authInfo', {}], ['sessionTimeout', 0],
    ['maxSessions', 1.5], ['retry', 2 ** 31], ['allowedHosts', 'localhost'], ['allowedOrigins', [1]], ['paths', '/']
  ]
  for (const [name, value] of cases) {
    t.throws(() => resolveMcp({ connect, [name]: value } as McpOptions), { code: 'FST_SSE_OPTION', message: new RegExp(`'${name}'`) })
  }
})

t.test('the table of options has every option with its default', async t => {
  const rows = rowsOf('lib/protocols/mcp.md', 'option', 'default').map(([name, value]) => [name, value].map(cell => cell!.replace(/[`']/g, '')))
  const shown: Record<string, string> = { connect: '–', sessionId: 'a UUID', allowedOrigins: 'none', allowedHosts: 'all', history: 'of a run', leaseDuration: '15000' }
  t.strictSame(rows, Object.entries(resolveMcp({ connect })).map(([name, value]) => [name, shown[name] ?? String(value ?? '–')]).toSorted((a, b) =>
    rows.findIndex(([name]) => name === a[0]) - rows.findIndex(([name]) => name === b[0])))
})
