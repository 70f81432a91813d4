import { getEventListeners } from 'node:events'
import { brotliCompressSync, constants, createBrotliCompress, createGzip, deflateSync, gzipSync } from 'node:zlib'
import t from 'tap'
import { exchange, isStream, type ExchangeOptions } from '../../../lib/cli/doctor/exchange.ts'
import { answers, cuts, ends, Scripted, streams, type Answer } from '../../setup/scripted.ts'
import { secure } from '../../setup/secure.ts'
import { within } from '../../setup/within.ts'

// The certificate is the test's own.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'

type Owner = Parameters<typeof Scripted.start>[0]

async function ask (t: Owner, script: Answer[], asking: Partial<ExchangeOptions> = {}) {
  const server = await Scripted.start(t, ...script)
  const { signal } = new AbortController()
  const seen = await within('the end',
    exchange({ url: new URL(server.url), headers: {}, multiplexed: false, seconds: 20, signal, ...asking }))
  return { server, seen, signal }
}

t.test('an exchange has the times of its parts', async t => {
  const { seen, signal } = await ask(t, [ends('data: 1\n\n')])
  t.match(seen, {
    redirects: [],
    head: { status: 200, version: '1.1' },
    arrivals: { events: [{ data: '1' }] },
    end: { how: 'complete' }
  })
  const times = [0, seen.connected!, seen.head!.at, seen.arrivals.pieces[0]!.at, seen.end.at]
  t.strictSame(times, times.toSorted((one, other) => one - other))
  t.strictSame(getEventListeners(signal, 'abort'), [])
})

t.test('an exchange ends after its time, when enough has arrived, and at the signal', async t => {
  const stream = streams('data: 1\n\ndata: 2\n\n')
  t.match((await ask(t, [stream], { seconds: 0.3 })).seen, { end: { how: 'left' }, arrivals: { events: [{}, {}] } })
  t.match((await ask(t, [stream], { enough: ({ arrivals }) => arrivals.events.length > 0 })).seen.end, { how: 'left' })
  t.match((await ask(t, [stream], { enough: ({ head }) => head !== undefined })).seen, {
    end: { how: 'left' },
    head: { status: 200 }
  })
  t.match((await ask(t, [stream], { signal: AbortSignal.abort() })).seen, { end: { how: 'left' }, head: undefined })
  const controller = new AbortController()
  t.match((await ask(t, [asked => {
    stream(asked)
    controller.abort()
  }], { signal: controller.signal })).seen.end, { how: 'left' })
})

t.test('an endless stream is aborted after enough events', async t => {
  const { seen } = await ask(t, [streams('data\n\n'.repeat(30_000))])
  t.equal(seen.end.how, 'left')
  t.ok(seen.arrivals.full)
})

t.test('a cut, a failure and an unreadable stream are results', async t => {
  t.match((await ask(t, [cuts('data: 1\n\n')])).seen.end, { how: 'cut', error: Error })
  t.match((await ask(t, [({ response }) => response.socket!.destroy()])).seen.end, {
    how: 'failed',
    error: { code: 'ECONNRESET' }
  })
  const reset = new URL(await secure(t, stream => stream.destroy(new Error('broken'))))
  t.match((await ask(t, [answers(204)], { url: reset, multiplexed: true })).seen, {
    head: undefined,
    end: { how: 'failed', error: Error }
  })
  t.match((await ask(t, [streams('x'.repeat(2 ** 24 + 1))])).seen.end, {
    how: 'cut',
    error: { code: 'FST_SSE_EVENT_SIZE' }
  })
  t.match((await ask(t, [answers(204)], { headers: { 'last-event-id': '\x01' } })).seen.end, {
    how: 'failed',
    error: { code: 'ERR_INVALID_CHAR' }
  })
})

t.test('compressed events are read as soon as they arrive, and to the end', async t => {
  const text = 'data: 1\n\n'
  for (const [encoding, bytes] of [['gzip', gzipSync(text)], ['br', brotliCompressSync(text)], ['deflate',
    deflateSync(text)], ['x-gzip', gzipSync(text)]] as const) {
    t.match((await ask(t, [ends(bytes, { 'content-encoding': encoding })])).seen, {
      end: { how: 'complete' },
      arrivals: { events: [{ data: '1' }] }
    }, encoding)
  }
  const much = Array.from({ length: 20_000 }, (_, n) => `data: ${n}\n\n`).join('')
  const { seen: first } = await ask(t, [ends(gzipSync(much), { 'content-encoding': 'gzip' })], {
    enough: ({ arrivals }) => arrivals.events.length > 0
  })
  t.ok(first.arrivals.events.length < 20_000, 'and later events are not recorded')
  for (const [encoding, make] of [['gzip', () => createGzip({ flush: constants.Z_SYNC_FLUSH })], ['br',
    () => createBrotliCompress({ flush: constants.BROTLI_OPERATION_FLUSH })]] as const) {
    const { seen } = await ask(t, [({ response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': encoding })
      const compressor = make()
      compressor.pipe(response)
      compressor.write(text)
    }], { enough: ({ arrivals }) => arrivals.events.length > 0 })
    t.match(seen, { end: { how: 'left' } }, `${encoding} that goes on`)
  }
})

t.test('invalid compressed data ends, and an unknown encoding is read as bytes', async t => {
  t.match((await ask(t, [ends('data: 1\n\n', { 'content-encoding': 'gzip' })])).seen, {
    end: { how: 'complete' },
    arrivals: { events: [] }
  })
  t.match((await ask(t, [({ response }) => {
    response.writeHead(200, { 'content-encoding': 'gzip' }).write('no gzip')
    setTimeout(() => response.end('at all'), 50)
  }])).seen, { end: { how: 'complete' } })
  t.match((await ask(t, [ends('data: 1\n\n', { 'content-encoding': 'zip' })])).seen, {
    arrivals: { pieces: [{ bytes: 9 }] }
  })
})

t.test('an exchange follows five redirects, and sends no secrets to another origin', async t => {
  const other = await Scripted.start(t, ends('data: there\n\n'))
  const headers = {
    accept: 'text/event-stream',
    authorization: 'secret',
    cookie: 'a=b',
    'x-other': 'c',
    'last-event-id': '7'
  }
  const { seen, server } = await ask(t, [answers(302, { location: '/next' }), answers(307, { location: other.url })], {
    headers
  })
  t.match(seen, {
    head: { status: 200 },
    url: { href: other.url },
    redirects: [{ pathname: '/' }, { pathname: '/next' }],
    arrivals: { events: [{ data: 'there' }] }
  })
  t.match(server.asked[1]!.headers, headers)
  t.match(other.asked[0]!.headers, {
    accept: 'text/event-stream',
    authorization: undefined,
    cookie: undefined,
    'x-other': undefined,
    'last-event-id': '7'
  })
  const { seen: lost } = await ask(t, [answers(302, { location: '/' })])
  t.match(lost, { head: { status: 302 }, redirects: { length: 5 } })
})

t.test('a redirect without a target is a response', async t => {
  for (const location of ['http://', 'ftp://127.0.0.1/']) {
    t.match((await ask(t, [answers(302, { location })])).seen, { head: { status: 302 }, redirects: [] })
  }
  t.match((await ask(t, [ends('', { location: '/' })])).seen, { head: { status: 200 }, redirects: [] })
})

t.test('an event stream has status 200 and its type', async t => {
  for (const [status, type, expected] of [[200, 'text/event-stream', true], [200, 'Text/Event-Stream; charset=utf-8',
    true], [200, 'text/event-streams', false], [200, '', false], [500, 'text/event-stream', false]] as const) {
    const { seen } = await ask(t, [answers(status, type === '' ? {} : { 'content-type': type })])
    t.equal(isStream(seen), expected, `${status} ${type}`)
  }
})
