import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { checkHeaders, checkVersion, infoOf, isSessionId } from '../../lib/protocols/mcp-request.ts'
import { resolveMcp } from '../../lib/protocols/mcp-options.ts'

// The responses are tested in mcp.test.ts.

const options = resolveMcp({ connect: () => {} })
const request = (fields: object): FastifyRequest =>
  ({ method: 'GET', url: '/mcp?x=1', protocol: 'http', host: 'localhost', headers: {}, ...fields }) as unknown as FastifyRequest

t.test('the id of a session is visible ASCII without a slash', async t => {
  for (const id of ['a', '!~', 'x'.repeat(255)]) t.equal(isSessionId(id), true, id)
  for (const id of ['', 'a b', 'a/b', 'ü', 'a\n', 'x'.repeat(256), 1, undefined]) t.equal(isSessionId(id), false, String(id))
})

t.test('hosts and origins are served by the lists', async t => {
  const check = (headers: object, lists: object): void =>
    checkHeaders(request({ method: 'DELETE', headers }), { ...options, ...lists })
  const forbidden = { statusCode: 403, code: 'FST_SSE_MCP' }
  t.doesNotThrow(() => check({}, {}))
  t.throws(() => check({ origin: 'null' }, {}), forbidden)
  t.doesNotThrow(() => check({ origin: 'https://app.example' }, { allowedOrigins: ['*'] }))
  t.doesNotThrow(() => check({ origin: 'https://app.example' }, { allowedOrigins: ['https://app.example'] }))
  t.throws(() => check({ origin: 'https://app.example:444' }, { allowedOrigins: ['https://app.example'] }), forbidden)
  t.throws(() => check({}, { allowedHosts: ['localhost:3000'] }), forbidden)
  t.doesNotThrow(() => check({ host: 'localhost:3000' }, { allowedHosts: ['localhost:3000'] }))
})

t.test('a version is known, or the one that the server chose', async t => {
  const check = (version: string | undefined, chosen?: string): void =>
    checkVersion(request({ headers: { 'mcp-protocol-version': version } }), chosen)
  for (const version of [undefined, '2024-11-05', '2025-11-25']) t.doesNotThrow(() => check(version))
  t.throws(() => check('2030-01-01'), { statusCode: 400, code: 'FST_SSE_MCP' })
  t.doesNotThrow(() => check('2030-01-01', '2030-01-01'))
})

t.test('the server gets the headers, the URL and the identity of a request', async t => {
  const headers = { 'x-a': 'b' }
  t.strictSame(infoOf(request({ headers }), options), {
    requestInfo: { headers, url: new URL('http://localhost/mcp?x=1') },
    authInfo: undefined
  })
  t.equal(infoOf(request({ host: 'no host' }), options).requestInfo?.url, undefined)
  const authInfo = { token: 'a', clientId: 'b', scopes: [] }
  t.equal(infoOf(request({}), { ...options, authInfo: () => authInfo }).authInfo, authInfo)
})
