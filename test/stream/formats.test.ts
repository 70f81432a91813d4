import Fastify, { type FastifyReply } from 'fastify'
import t, { type Test } from 'tap'
import { negotiate, type FormatOptions, type Negotiated } from '../../lib/stream/formats.ts'

interface Answer { negotiated: Negotiated, headers: Record<string, unknown> }

/** Negotiates for a request. Returns the result, and the headers of the reply. */
async function negotiated (
  t: Test,
  { accept, url = '/', formats = ['event-stream', 'ndjson', 'json'], maxWait = 60_000, before = () => {} }:
    & Partial<FormatOptions>
    & { accept?: string, url?: string, before?: (reply: FastifyReply) => unknown }
): Promise<Answer> {
  const app = Fastify()
  t.teardown(() => app.close())
  let result: Negotiated | undefined
  app.get('/', async (_request, reply) => {
    before(reply)
    result = negotiate(reply, { formats, maxWait })
    return ''
  })
  const { headers } = await app.inject({ url, headers: accept === undefined ? {} : { accept } })
  return { negotiated: result!, headers }
}

t.test('the default formats read no Accept and add no Vary', async t => {
  const { negotiated: { representation, refusal }, headers } = await negotiated(t, {
    accept: 'text/html',
    url: '/?wait=x',
    formats: ['event-stream']
  })
  t.strictSame([representation.mediaType, refusal, headers.vary], ['text/event-stream', undefined, undefined])
})

t.test('any other list is negotiated, also a list of one', async t => {
  const one = await negotiated(t, { formats: ['ndjson'] })
  t.strictSame([one.negotiated.representation.mediaType, one.headers.vary], ['application/x-ndjson', 'Accept'])
  const jsonl = await negotiated(t, { accept: 'application/jsonl' })
  t.equal(jsonl.negotiated.representation.contentType, 'application/jsonl')
  const json = await negotiated(t, { accept: 'application/json' })
  t.strictSame([json.negotiated.representation.contentType, json.negotiated.representation.isArray],
    ['application/json; charset=utf-8', true])
})

t.test('a client that accepts none is refused with the types that there are', async t => {
  const { negotiated: { refusal }, headers } = await negotiated(t, { accept: 'text/html', formats: ['json', 'ndjson'] })
  t.match(refusal, { code: 'FST_SSE_NOT_ACCEPTABLE', statusCode: 406 })
  t.match(refusal?.message, /application\/json, application\/x-ndjson, application\/jsonl$/)
  t.equal(headers.vary, 'Accept')
})

t.test('Vary is added to the values that are there, once', async t => {
  const rows: Array<[string | string[], string]> = [
    ['Origin', 'Origin, Accept'],
    [['Origin', 'Cookie'], 'Origin, Cookie, Accept'],
    ['origin,accept', 'origin,accept'],
    ['*', '*'],
    ['Accept-Encoding', 'Accept-Encoding, Accept']
  ]
  for (const [vary, expected] of rows) {
    const { headers } = await negotiated(t, { before: reply => reply.header('vary', vary) })
    t.equal(String(headers.vary), expected)
  }
})

t.test('the content type of the handler gives way to the negotiated one', async t => {
  const { headers } = await negotiated(t, { before: reply => reply.type('text/event-stream') })
  t.notMatch(headers['content-type'], 'event-stream')
})

t.test('the wait is a number of seconds, at most maxWait', async t => {
  const accept = 'application/json'
  const rows: Array<[url: string, wait: number]> = [['/', 0], ['/?', 0], ['/?other=1', 0], ['/?wait=0', 0],
    ['/?wait=20', 20_000], ['/?a=b&wait=0.5', 500], ['/?wait=999999999', 60_000], ['/?w%61it=%31', 1_000]]
  for (const [url, wait] of rows) t.equal((await negotiated(t, { accept, url })).negotiated.wait, wait, url)
  t.equal((await negotiated(t, { accept, url: '/?wait=1', maxWait: 0 })).negotiated.wait, 0)
  for (const value of ['', 'x', '-1', '1e3', 'Infinity', 'NaN', '1&wait=2', '%00', '.5', '1.', ' 1', '1'.repeat(10)]) {
    const { negotiated: { refusal } } = await negotiated(t, { accept, url: `/?wait=${value}` })
    t.match(refusal, { code: 'FST_SSE_WAIT', statusCode: 400 }, value)
  }
  const { negotiated: { refusal } } = await negotiated(t, { accept: 'application/x-ndjson', url: '/?wait=x' })
  t.equal(refusal, undefined, 'only an array waits')
})
