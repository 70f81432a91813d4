import t from 'tap'
import { targetOf, urlOf } from '../../lib/cli/target.ts'

const faultOf = (positionals: string[], headers: string[] = []): string => {
  try {
    targetOf(positionals, headers)
    return 'none'
  } catch (error) {
    return `${(error as { code: string }).code}: ${(error as Error).message}`
  }
}

t.test('a target is one URL and the headers of the request', async t => {
  const { url, headers } = targetOf(['https://example.org/a?b=c#d'], ['Authorization: Bearer a:b', 'X-One:  1 ',
    'x-one: 2'])
  t.equal(url.href, 'https://example.org/a?b=c')
  t.strictSame(headers, { authorization: 'Bearer a:b', 'x-one': '1, 2' })
})

t.test('a name and a password in the URL become a header, and are removed from it', async t => {
  const { url, headers } = targetOf(['http://me:p%40ss@example.org/'], [])
  t.equal(url.href, 'http://example.org/')
  t.strictSame(headers, { authorization: `Basic ${Buffer.from('me:p@ss').toString('base64')}` })
  t.strictSame(targetOf(['http://:x@example.org/'], ['authorization: mine']).headers, { authorization: 'mine' },
    'an explicit header takes precedence')
  t.match(faultOf(['http://a:%ff@example.org/']), /not percent-encoded/)
})

t.test('an invalid target is a usage error', async t => {
  t.equal(faultOf([]), 'FST_SSE_USAGE: The URL is missing')
  t.equal(faultOf(['http://a/', 'http://b/', 'c']), "FST_SSE_USAGE: Unexpected arguments: 'http://b/', 'c'")
  for (const text of ['localhost:3000', '/sse', '', 'ftp://example.org/', 'http://']) {
    t.equal(faultOf([text]), `FST_SSE_USAGE: Invalid URL '${text}': expected http:// or https://`)
  }
  t.equal(urlOf('http://a').href, 'http://a/')
})

t.test('an invalid header is reported by its name only', async t => {
  t.equal(faultOf(['http://a/'], ['no colon']), "FST_SSE_USAGE: Invalid header 'no colon': expected 'Name: value'")
  t.equal(faultOf(['http://a/'], [': x']), "FST_SSE_USAGE: Invalid header ': x': expected 'Name: value'")
  t.equal(faultOf(['http://a/'], ['Authorization: secret\nx: y']),
    "FST_SSE_USAGE: Invalid header 'Authorization': expected 'Name: value'")
})
