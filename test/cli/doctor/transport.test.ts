import type http2 from 'node:http2'
import t from 'tap'
import { sendHttp1, sendHttp2, type ExchangeHead, type Send } from '../../../lib/cli/doctor/transport.ts'
import { answers, cuts, ends, Scripted, streams, type Answer } from '../../setup/scripted.ts'
import { secure } from '../../setup/secure.ts'
import { within } from '../../setup/within.ts'

// The certificate is the test's own.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'

interface Heard {
  connected: boolean
  head: ExchangeHead | undefined
  text: string
  how: string
  error: Error | undefined
}

/** Sends a request and reads until the end, or until a text has arrived. */
function hear (
  send: Send,
  url: string,
  { method = 'GET', headers = {}, until }: { method?: string, headers?: Record<string, string>, until?: string } = {}
): Promise<Heard> {
  const heard: Heard = { connected: false, head: undefined, text: '', how: 'none', error: undefined }
  return within('the end', new Promise<Heard>(resolve => {
    const leave = send({ url: new URL(url), method, headers }, {
      connected: () => { heard.connected = true },
      head: head => { heard.head = head },
      data: bytes => {
        heard.text += String(bytes)
        if (until !== undefined && heard.text.includes(until)) over('left')
      },
      over: (how, error) => over(how, error)
    })
    const over = (how: string, error?: Error): void => {
      if (heard.how !== 'none') return
      leave()
      resolve(Object.assign(heard, { how, error }))
    }
  }))
}

t.test('over HTTP/1.1 the head, the bytes and the end are reported', async t => {
  const rows: Array<[title: string, answer: Answer, expected: object]> = [
    ['a stream that ends', ends('data: 1\n\n'), {
      connected: true,
      head: { status: 200, version: '1.1', headers: { 'content-type': 'text/event-stream' } },
      text: 'data: 1\n\n',
      how: 'complete'
    }],
    ['one that is cut', cuts('data: 1\n\n'), { text: 'data: 1\n\n', how: 'cut', error: Error }],
    ['no content', answers(204), { head: { status: 204 }, how: 'complete' }],
    ['a body whose end is that of the connection', ({ response }) => {
      response.socket!.end('HTTP/1.0 200 OK\r\n\r\nall')
    }, { head: { version: '1.0' }, text: 'all', how: 'closed' }],
    ['no answer', ({ response }) => response.socket!.destroy(), {
      connected: true,
      head: undefined,
      how: 'failed',
      error: { code: 'ECONNRESET' }
    }]
  ]
  for (const [title, answer, expected] of rows) {
    t.test(title, async t => {
      const server = await Scripted.start(t, answer)
      t.match(await hear(sendHttp1, server.url), expected)
      t.not(server.asked[0]!.headers.connection, 'close', 'it would keep the connection')
    })
  }
  const server = await Scripted.start(t, answers(200))
  t.match(await hear(sendHttp1, server.url, { method: 'HEAD' }), { how: 'complete' })
})

t.test('an abort closes the connection', async t => {
  const server = await Scripted.start(t, streams('data: 1\n\n'))
  t.equal((await hear(sendHttp1, server.url, { until: 'data: 1' })).how, 'left')
  t.notOk(await within('the end', server.asked[0]!.over))
})

const respond = (stream: http2.ServerHttp2Stream): void => {
  stream.respond({ ':status': 200, 'content-type': 'text/event-stream' })
  stream.write('data: 1\n\n')
}

t.test('over HTTP/2 the head, the bytes and the end are reported', async t => {
  let asked: http2.IncomingHttpHeaders = {}
  const url = await secure(t, (stream, headers) => {
    asked = headers
    respond(stream)
    stream.end()
  })
  t.match(
    await hear(sendHttp2, url, {
      headers: { accept: 'text/event-stream', host: 'other.example', connection: 'keep-alive' }
    }),
    {
      connected: true,
      head: { status: 200, version: '2', headers: { 'content-type': 'text/event-stream' } },
      text: 'data: 1\n\n',
      how: 'complete'
    }
  )
  t.match(asked, { ':path': '/events?a=b', ':method': 'GET', accept: 'text/event-stream' })
  t.match(await hear(sendHttp1, url), { connected: true, head: { status: 200, version: '1.1' }, text: 'one' },
    'and HTTP/1.1 over TLS')
})

t.test('over HTTP/2 a reset stream and a closed connection are cuts, and an abort is none', async t => {
  const reset = await secure(t, stream => {
    respond(stream)
    setImmediate(() => stream.destroy(new Error('broken')))
  })
  t.match(await hear(sendHttp2, reset), { how: 'cut', error: Error })
  const lost = await secure(t, stream => {
    respond(stream)
    setImmediate(() => stream.session!.destroy())
  })
  t.match((await hear(sendHttp2, lost)).how, /^(cut|failed)$/)
  t.equal((await hear(sendHttp2, await secure(t, respond), { until: 'data: 1' })).how, 'left')
})

t.test('a failed connection is reported', async t => {
  for (const send of [sendHttp1, sendHttp2]) {
    t.match(await hear(send, 'https://127.0.0.1:1/'), {
      connected: false,
      how: 'failed',
      error: { code: 'ECONNREFUSED' }
    })
  }
})
