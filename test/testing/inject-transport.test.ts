import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { connect } from '../../lib/client.ts'
import sse, { type CloseReport } from '../../lib/index.ts'
import { toHeaders, injectFetch, InjectTransport } from '../../lib/testing/inject-transport.ts'
import { held } from '../setup/within.ts'

const read = async (response: Response): Promise<string> =>
  new TextDecoder().decode((await response.body!.getReader().read()).value)

async function serve (t: Test): Promise<{ app: FastifyInstance, reports: CloseReport[], pulled: () => number }> {
  const app = Fastify()
  t.teardown(() => app.close())
  const reports: CloseReport[] = []
  let pulled = 0
  await app.register(sse, {
    onClose: report => {
      reports.push(report)
    }
  })
  app.post('/echo',
    async ({ body, headers, query, ip, host }) => ({
      body,
      type: headers['content-type'],
      length: headers['content-length'],
      cookie: headers.cookie,
      query,
      ip,
      host
    }))
  app.all('/first', (_request, reply) =>
    reply.header('set-cookie', ['a=1', 'b=2']).sse(async function * () {
      yield { data: 'first' }
      await new Promise(() => {})
    }))
  app.post('/silent', (_request, reply) => reply.sse(() => new Promise<never>(() => {}), { flushHeadersAfter: 1e6 }))
  app.get('/endless', (_request, reply) => reply.sse(async function * () {
    for (;; pulled++) yield { data: 'x'.repeat(1_000) }
  }))
  app.get('/nothing', async (_request, reply) => reply.code(204).send())
  return { app, reports, pulled: () => pulled }
}

t.test('a request has the options of inject and of fetch', async t => {
  const { app } = await serve(t)
  const line = new InjectTransport(app, {
    query: { a: '1' },
    cookies: { c: 'd' },
    authority: 'example.org',
    remoteAddress: '10.0.0.1'
  })
  const response = await line.fetch('/echo', {
    method: 'POST',
    body: JSON.stringify({ é: 1 }),
    headers: { 'content-type': 'application/json' }
  })
  t.equal(response.status, 200)
  t.strictSame(await response.json(), {
    body: { é: 1 },
    type: 'application/json',
    length: '8',
    cookie: 'c=d',
    query: { a: '1' },
    ip: '10.0.0.1',
    host: 'example.org'
  })
  const bare = await new InjectTransport(app, {}).fetch(new URL('http://other/echo'), { method: 'POST', body: 'text' })
  t.strictSame(await bare.json(), {
    body: 'text',
    type: 'text/plain;charset=UTF-8',
    length: '4',
    query: {},
    ip: '127.0.0.1',
    host: 'other:80'
  })
})

t.test('the head of a response arrives before its body', async t => {
  const { app } = await serve(t)
  const line = new InjectTransport(app, {})
  let opened = false
  line.opened.then(() => { opened = true })
  const response = await line.fetch('/first')
  t.strictSame([response.status, response.statusText], [200, 'OK'])
  t.strictSame(response.headers.getSetCookie(), ['a=1', 'b=2'])
  t.strictSame(line.head?.cookies.map(({ name }) => name), ['a', 'b'])
  t.equal(opened, false)
  t.equal(await read(response), 'data: first\n\n')
  t.equal(opened, true)
  t.equal(line.text, 'data: first\n\n')
})

t.test('a response without a body is read', async t => {
  const { app } = await serve(t)
  const line = new InjectTransport(app, {})
  t.equal((await line.fetch('/nothing')).body, null)
  await line.read
  await line.gone()
})

for (const method of ['GET', 'POST']) {
  t.test(`the server notices the disconnect of a client: ${method}`, async t => {
    const { app, reports } = await serve(t)
    const line = new InjectTransport(app, {})
    const client = new AbortController()
    const response = await line.fetch('/first', {
      method,
      ...(method === 'POST' && { body: '{}', headers: { 'content-type': 'application/json' } }),
      signal: client.signal
    })
    await read(response)
    t.equal(reports.length, 0)
    client.abort()
    await line.gone()
    await line.read
    t.strictSame(reports.map(({ reason }) => reason), ['client'])
  })
}

t.test('the server notices a client that disconnects before the head, or cancels the body', async t => {
  const { app, reports } = await serve(t)
  const line = new InjectTransport(app, {})
  const client = new AbortController()
  const response = line.fetch('/silent', { method: 'POST', body: 'text', signal: client.signal })
  const settled = t.rejects(response, { message: 'aborted', code: 'ECONNRESET' })
  for (let turns = 0; turns < 5; turns++) await turn()
  client.abort()
  await settled
  await line.gone()
  t.strictSame(reports.map(({ reason }) => reason), ['client'])

  const other = new InjectTransport(app, {})
  await (await other.fetch('/first')).body!.cancel()
  await other.gone()
  t.equal(reports.length, 2)
})

t.test('an aborted request is not sent', async t => {
  const { app } = await serve(t)
  await t.rejects(new InjectTransport(app, {}).fetch('/first', { signal: AbortSignal.abort() }), { name: 'AbortError' })
})

t.test('a client that disconnects while the app starts is disconnected when it has started', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(async scope => {
    await began
    await scope.register(sse)
    scope.get('/', (_request, reply) => reply.sse(() => new Promise<never>(() => {})))
  })
  let begin!: () => void
  const began = new Promise<void>(resolve => { begin = resolve })
  const client = new AbortController()
  const line = new InjectTransport(app, {})
  const response = line.fetch('/', { signal: client.signal })
  const settled = t.rejects(response, { code: 'ECONNRESET' })
  await turn()
  client.abort()
  await turn()
  begin()
  await settled
  await line.gone()
})

t.test('L4: a stalled client reads nothing, and the server stops when the buffers are full', async t => {
  const { app, pulled } = await serve(t)
  const line = new InjectTransport(app, {})
  const response = await line.fetch('/endless')
  const reader = response.body!.getReader()
  await reader.read()
  const { length } = line.text
  const [goOn, again] = [line.stall(), line.stall()]
  t.equal(line.isStalled, true)
  goOn()
  t.equal(line.isStalled, true, 'the second one counts')
  const next = reader.read()
  t.ok(await held(pulled) < 500)
  t.equal(line.text.length, length)
  again()
  again()
  t.equal(line.isStalled, false)
  await next
  t.ok(line.text.length > length)
  await reader.cancel()
  await line.gone()
})

t.test('a pending read waits for the stalled client, too', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  let send!: (text: string) => void
  app.get('/', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200)
    send = text => reply.raw.write(text)
  })
  const line = new InjectTransport(app, {})
  const reader = (await line.fetch('/')).body!.getReader()
  const next = reader.read()
  await turn()
  const goOn = line.stall()
  send('late')
  await turn()
  t.equal(line.text, '')
  goOn()
  t.equal(new TextDecoder().decode((await next).value), 'late')
})

t.test('a broken response fails the body', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/', (_request, reply) => {
    reply.hijack()
    reply.raw.writeHead(200)
    reply.raw.write('half')
    setImmediate(() => reply.raw.destroy())
  })
  const line = new InjectTransport(app, {})
  const response = await line.fetch('/')
  const closed = once((line.head as unknown as { raw: { res: NodeJS.EventEmitter } }).raw.res, 'close')
  await closed
  await t.rejects(response.text(), { code: 'LIGHT_ECONNRESET' })
  await line.read
})

t.test('headers of Node are headers of fetch', async t => {
  t.strictSame([...toHeaders(undefined)], [])
  t.strictSame([...toHeaders({ A: 'b', c: 1, d: ['e', 'f'], g: undefined })], [['a', 'b'], ['c', '1'], ['d', 'e, f']])
})

t.test('injectFetch() serves a client without a port', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  const events = { hello: Type.Object({ to: Type.String() }) }
  app.get('/', { schema: { sse: events } },
    (request, reply) => reply.sse([{ event: 'hello', data: { to: String(request.headers.cookie) } }]))
  const fetch = injectFetch(app, { cookies: { name: 'you' } })
  for (const stream of [connect('/', { events, fetch, reconnect: false }),
    connect('/', { events, fetch, reconnect: false })]) {
    const came = []
    for await (const event of stream) came.push(event)
    t.strictSame(came, [{ event: 'hello', data: { to: 'name=you' }, id: '' }], 'of any number of requests')
  }
  t.equal((await injectFetch(app)('/none')).status, 404)
})
