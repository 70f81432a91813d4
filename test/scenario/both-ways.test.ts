import { once } from 'node:events'
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2'
import { text } from 'node:stream/consumers'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import compress from '@fastify/compress'
import t, { type Test } from 'tap'
import { chances } from '../setup/chances.ts'
import { listeners, timersAndSockets } from '../setup/leftovers.ts'
import { open, RawClient, type RawRequest } from '../setup/raw.ts'
import { until } from '../setup/until.ts'
import {
  answersOf, difference, END, ended, fieldsOf, intact, nameOf, read, SCRIPTS, serve, soon, WAYS, type Answer,
  type Served, type ServeOptions, type Step, type Visit, type Way
} from '../setup/ways.ts'
import { still } from '../setup/within.ts'

// Frames are written past Node's own chunking to the socket, or through it. In every situation the bytes are the same.

t.setTimeout(300_000)

interface Case { title: string, run: (t: Test, way: Way) => Promise<void> }

async function sendRequest (t: Test, { port }: Pick<Served, 'port'>, request: RawRequest): Promise<RawClient> {
  const client = await open(port, request)
  t.teardown(() => client.socket.destroy())
  return client
}

/** Checks that the received bytes are a prefix of the expected ones, and that everything of the stream is closed. */
async function cutOff (t: Test, body: string, visit: Visit): Promise<void> {
  t.ok(visit.body.startsWith(body), 'the beginning')
  await soon('the end of reply.sse()', visit.over)
  await soon('the last of the script', visit.published)
  await turn()
  t.equal(visit.reason, 'client')
  t.ok(visit.isLeft)
}

/** A case of a client that requests streams on one connection. */
function plain (
  title: string,
  paths: string[],
  { request = {}, after, ...options }: ServeOptions & {
    request?: RawRequest
    after?: (t: Test, answers: Answer[], served: Served) => void
  } = {}
): Case {
  return {
    title,
    run: async (t, way) => {
      const served = await serve(t, way, options)
      const [first = '', ...others] = paths
      const client = await sendRequest(t, served, { ...request, path: first })
      for (const path of others) client.request({ ...request, path })
      const answers = await answersOf(client, paths.length)
      await intact(t, answers, served.visits)
      after?.(t, answers, served)
      t.same(served.problems, [])
    }
  }
}

const cases: Case[] = [
  plain('three pipelined requests are answered in their order, each with its own bytes', ['/stream/short',
    '/stream/long', '/stream/short']),
  {
    title: 'pipelined responses wait for a slow one between them',
    run: async (t, way) => {
      const served = await serve(t, way)
      const client = await sendRequest(t, served, { path: '/stream/short' })
      for (const path of ['/stream/held', '/stream/long', '/plain']) client.request({ path })
      await soon('the beginning of the slow one', client.until('data: first\n\n'))
      await until('all requests to be there', () => served.visits.length === 3)
      // Behind the slow response, this one completes while its client does not read.
      await turn()
      served.visits[1]!.free()
      await soon('the last answer', client.until('{"plain":true}'))
      await intact(t, await answersOf(client, 3), served.visits)
      t.same(served.problems, [])
    }
  },
  {
    title: 'a POST that waits for 100 Continue receives it, then its stream',
    run: async (t, way) => {
      const served = await serve(t, way)
      const body = '{"ü":1}'
      const client = await sendRequest(t, served, {
        path: '/stream/short',
        method: 'POST',
        headers: {
          Expect: '100-continue',
          'Content-Type': 'application/json',
          'Content-Length': String(Buffer.byteLength(body))
        }
      })
      await soon('100 Continue', client.until('HTTP/1.1 100 Continue\r\n\r\n'))
      client.socket.write(body)
      const answers = await answersOf(client, 1)
      t.same(answers.map(({ head }) => head[0]), ['HTTP/1.1 100 Continue', 'HTTP/1.1 200 OK'])
      t.same(served.visits[0]!.reply.request.body, { ü: 1 })
      await intact(t, answers, served.visits)
    }
  },
  ...['in the handler', 'in an onSend hook'].map((where): Case => ({
    title: `trailers that are set ${where} follow the last chunk`,
    run: async (t, way) => {
      const add: ServeOptions['prepare'] = reply => { reply.trailer('x-sum', async () => 'of all') }
      const served = await serve(t, way, where === 'in the handler'
        ? { prepare: add }
        : { setup: app => app.addHook('onSend', async (_request, reply, payload) => { add(reply); return payload }) })
      const client = await sendRequest(t, served, { path: '/stream/short', headers: { TE: 'trailers' } })
      client.request({ path: '/stream/long', headers: { TE: 'trailers' } })
      const answers = await answersOf(client, 2, '\r\n0\r\nx-sum: of all\r\n\r\n')
      for (const answer of answers) t.same([fieldsOf(answer, 'trailer'), answer.trailers], [['x-sum'], 'x-sum: of all'])
      await intact(t, answers, served.visits)
      t.same(served.problems, [])
    }
  })),
  {
    title: 'a connection that is reused for streams and other requests has no additional listeners',
    run: async (t, way) => {
      const counts: Array<Record<string, number>> = []
      const served = await serve(t, way, {
        setup: app =>
          app.addHook('onRequest', async ({ raw: { socket } }) => {
            counts.push(
              Object.fromEntries(
                ['drain', 'close', 'end', 'error', 'finish'].map(name => [name, socket.listenerCount(name)])
              )
            )
          })
      })
      const client = await sendRequest(t, served, { path: '/plain' })
      for (let n = 1; n <= 10; n++) {
        await soon('an answer', client.until('{"plain":true}', client.received.lastIndexOf('HTTP/1.1')))
        client.request({ path: n % 2 === 0 ? '/stream/long' : '/stream/short' })
        await ended(client, n)
        client.request({ path: '/plain' })
      }
      await soon('the last answer', client.until('{"plain":true}', client.received.lastIndexOf(END)))
      await intact(t, read(client.received), served.visits)
      t.equal(counts.length, 21)
      t.same(counts, counts.map(() => counts[0]))
    }
  },
  {
    title: 'a client that requests Connection: close receives all of the stream, then a FIN',
    run: async (t, way) => {
      const served = await serve(t, way)
      const client = await sendRequest(t, served, { path: '/stream/long', headers: { Connection: 'close' } })
      t.equal(await soon('the end', client.closed), 'end')
      const answers = await answersOf(client, 1)
      t.same(fieldsOf(answers[0]!, 'connection'), ['close'])
      await intact(t, answers, served.visits)
    }
  },
  ...[{}, { Connection: 'keep-alive' }].map((headers): Case => ({
    title: `an HTTP/1.0 client that ${
      'Connection' in headers ? 'requests keep-alive' : 'requests nothing special'
    } receives no chunks, and a FIN at the end`,
    run: async (t, way) => {
      const served = await serve(t, way)
      const client = await sendRequest(t, served, { path: '/stream/long', version: '1.0', headers })
      t.equal(await soon('the end', client.closed), 'end')
      const answers = read(client.received)
      t.same(fieldsOf(answers[0]!, 'transfer-encoding'), [])
      await intact(t, answers, served.visits)
    }
  })),
  {
    title: 'a TLS client receives many events, and one of a megabyte',
    run: async (t, way) => {
      // A pre-shared key, so no certificate is needed.
      const psk = Buffer.from('0123456789abcdef')
      const tls = { ciphers: 'PSK', maxVersion: 'TLSv1.2' } as const
      const many = Array.from({ length: 200 }, (_, index) => `${index} ${'é'.repeat(index)}`)
      const served = await serve(t, way, {
        server: { https: { ...tls, pskCallback: () => psk } },
        scripts: { all: [...many, 'a' + '€é😀'.repeat(120_000), ...many] }
      })
      const client = new RawClient(
        connectTls({
          ...tls,
          port: served.port,
          host: '127.0.0.1',
          pskCallback: () => ({ psk, identity: 'test' }),
          checkServerIdentity: () => undefined
        })
      )
      t.teardown(() => client.socket.destroy())
      for (let n = 1; n <= 2; n++) {
        client.request({ path: '/stream/all' })
        await intact(t, await answersOf(client, n), served.visits)
      }
      t.same(served.problems, [])
    }
  },
  {
    title: 'with allowHalfOpen, a client that has half-closed and reads on receives all of the stream, then a FIN',
    run: async (t, way) => {
      const served = await serve(t, way, { setup: app => { Object.assign(app.server, { httpAllowHalfOpen: true }) } })
      const client = await sendRequest(t, served, { path: '/stream/held' })
      await soon('the beginning', client.until('data: first\n\n'))
      const [visit] = served.visits
      const goodbye = once(visit!.socket, 'end')
      client.fin()
      await soon('the goodbye', goodbye)
      visit!.free()
      t.equal(await soon('the end', client.closed), 'end')
      await intact(t, await answersOf(client, 1), served.visits)
    }
  },
  {
    title: 'without allowHalfOpen, a half-close ends the stream without a last chunk',
    run: async (t, way) => {
      const served = await serve(t, way)
      const client = await sendRequest(t, served, { path: '/stream/held' })
      await soon('the beginning', client.until('data: first\n\n'))
      client.fin()
      await soon('the end', client.closed)
      const [response] = client.responses()
      t.equal(response!.complete, false)
      await cutOff(t, response!.body, served.visits[0]!)
      t.same(served.problems, [])
    }
  },
  ...['outside', 'within the source'].map((where): Case => ({
    title: `closeAllConnections(), called ${where}, ends a stream in the middle, and nothing else`,
    run: async (t, way) => {
      const close: Step = visit => visit.reply.server.server.closeAllConnections()
      const served = await serve(t, way, {
        scripts: { ...SCRIPTS, cut: ['first', 'second', visit => visit.hold(), 'third', close, 'fourth', 'fifth'] }
      })
      const client = await sendRequest(t, served, { path: where === 'outside' ? '/stream/held' : '/stream/cut' })
      await soon('the beginning', client.until('data: first\n\n'))
      if (where === 'outside') served.app.server.closeAllConnections()
      else served.visits[0]!.free()
      await soon('the end', client.closed)
      const [response] = client.responses()
      t.equal(response!.complete, false)
      await cutOff(t, response!.body, served.visits[0]!)
      t.equal(served.visits[0]!.socket.listenerCount('drain'), 1, 'Node\'s own')
      const next = await sendRequest(t, served, { path: '/stream/short' })
      await intact(t, await answersOf(next, 1), served.visits.slice(1))
      t.same(served.problems, [])
    }
  })),
  {
    title: 'closeIdleConnections() does not close a live stream',
    run: async (t, way) => {
      const served = await serve(t, way)
      const idle = await sendRequest(t, served, { path: '/stream/short' })
      await answersOf(idle, 1)
      const client = await sendRequest(t, served, { path: '/stream/held' })
      await soon('the beginning', client.until('data: first\n\n'))
      served.app.server.closeIdleConnections()
      await soon('the end of the idle one', idle.closed)
      served.visits[1]!.free()
      await intact(t, await answersOf(client, 1), served.visits.slice(1))
    }
  },
  {
    title: 'a connection that the server itself has half-closed is not written to, and no error is reported',
    run: async (t, way) => {
      const goodbye: Step = visit => {
        visit.socket.end()
      }
      const served = await serve(t, way, {
        scripts: { cut: ['first', 'second', visit => visit.hold(), goodbye, 'third', 'fourth', 'fifth'] }
      })
      const client = await sendRequest(t, served, { path: '/stream/cut' })
      await soon('the beginning', client.until('data: second\n\n'))
      served.visits[0]!.free()
      t.equal(await soon('the end', client.closed), 'end')
      await cutOff(t, client.responses()[0]!.body, served.visits[0]!)
      t.same(served.problems, [])
    }
  },
  {
    title: 'a client that stops reading pauses the source, and receives all of it when it reads on',
    run: async (t, way) => {
      const served = await serve(t, way)
      const client = await sendRequest(t, served, { path: '/stream/flood', pauseOnConnect: true })
      const visit = await stalled(served)
      if (way.source === 'pulled') t.ok(visit.pulls < SCRIPTS.flood!.length, `${visit.pulls} were pulled`)
      else await soon('the last to be published', visit.published)
      t.ok(visit.reply.raw.writableLength < 256 * 1024, `${visit.reply.raw.writableLength} bytes wait in the process`)
      client.resume()
      await soon('the end of the stream', visit.over)
      t.equal(visit.socket.listenerCount('drain'), 1, 'Node\'s own')
      client.request({ path: '/plain', headers: { Connection: 'close' } })
      t.equal(await soon('the end', client.closed), 'end')
      const answers = read(client.received)
      t.equal(String(answers[1]!.body), '{"plain":true}')
      await intact(t, answers, served.visits)
    }
  },
  ...(['fin', 'reset'] as const).map((leave): Case => ({
    title: `a client that stops reading and disconnects with a ${leave} ends the stream`,
    run: async (t, way) => {
      const served = await serve(t, way)
      const client = await sendRequest(t, served, { path: '/stream/flood', pauseOnConnect: true })
      const visit = await stalled(served)
      client[leave]()
      await cutOff(t, '', visit)
      t.equal(visit.socket.listenerCount('drain'), 1, 'Node\'s own')
      // Every server is notified of a reset.
      t.same(
        served.problems.filter(problem => leave === 'fin' || (problem as NodeJS.ErrnoException).code !== 'ECONNRESET'),
        []
      )
    }
  })),
  {
    title: 'a replaced response.write receives every byte',
    run: async (t, way) => {
      let seen: string[] = []
      const served = await serve(t, way, {
        prepare: ({ raw }) => {
          seen = []
          for (const name of ['write', 'end'] as const) {
            const own = raw[name]
            Object.assign(raw, {
              [name]: (...args: unknown[]): unknown => {
                if (typeof args[0] === 'string' || Buffer.isBuffer(args[0])) seen.push(String(args[0]))
                return Reflect.apply(own, raw, args)
              }
            })
          }
        }
      })
      const client = await sendRequest(t, served, { path: '/stream/long' })
      await intact(t, await answersOf(client, 1), served.visits)
      t.equal(difference(seen.join(''), served.visits[0]!.body), '')
    }
  },
  ...[{ what: 'excludes streams', options: {} }, { what: 'includes streams', options: { customTypes: /event-stream/ } }]
    .map(({ what, options }): Case => ({
      title: `with compression for all responses that ${what}, a client that accepts gzip receives the same bytes`,
      run: async (t, way) => {
        const served = await serve(t, way, {
          setup: app => app.register(compress, { global: true, threshold: 0, ...options })
        })
        const client = await sendRequest(t, served, { path: '/stream/long', headers: { 'Accept-Encoding': 'gzip' } })
        const [answer] = await answersOf(client, 1)
        const compressed = 'customTypes' in options
        t.same(fieldsOf(answer!, 'content-encoding'), compressed ? ['gzip'] : [])
        t.equal(difference(String(compressed ? gunzipSync(answer!.body) : answer!.body), served.visits[0]!.body), '')
      }
    })),
  {
    title: 'inject returns the same body',
    run: async (t, way) => {
      const served = await serve(t, way)
      for (const script of ['short', 'long']) {
        const { payload, headers } = await soon('the answer', served.app.inject(`/stream/${script}`))
        t.equal(difference(payload, served.visits.at(-1)!.body), '')
        t.equal(headers['content-length'], undefined)
      }
    }
  },
  {
    title: 'HTTP/2 clients receive the same body, several on one connection',
    run: async (t, way) => {
      const served = await serve(t, way, { server: { http2: true } })
      const session = connectHttp2(`http://127.0.0.1:${served.port}`)
      t.teardown(() => session.destroy())
      const bodies = await soon('the answers',
        Promise.all(['short', 'long', 'short'].map(script => bodyOver(session, `/stream/${script}`))))
      for (const [index, body] of bodies.entries()) t.equal(difference(body, served.visits[index]!.body), '')
      t.same(served.problems, [])
    }
  },
  {
    title:
      'a handler that corks, uncorks, writes and sets socket options during the stream changes no byte and no order',
    run: async (t, way) => {
      const cork: Step = ({ reply }) => { reply.raw.cork() }
      const uncork: Step = ({ reply }) => { reply.raw.uncork() }
      const delayed = (off: boolean): Step => ({ socket }) => { socket.setNoDelay(off) }
      const corkSocket: Step = ({ socket }) => {
        socket.cork()
        setImmediate(() => socket.uncork())
      }
      const served = await serve(t, way, {
        scripts: {
          all: ['a', 'b', delayed(false), 'c', cork, 'é', { own: ': é\n\n' }, 'd', 'e', uncork, 'f', { own: ': f\n\n' },
            delayed(true), 'g', cork, cork, 'h', uncork, '€', uncork, 'i', corkSocket, 'j', '😀', 'k', 'l']
        }
      })
      const client = await sendRequest(t, served, { path: '/stream/all' })
      client.request({ path: '/stream/all' })
      await intact(t, await answersOf(client, 2), served.visits)
      t.same(served.problems, [])
    }
  },
  plain('the head has one transfer-encoding: chunked, and no content-length', ['/stream/short', '/stream/long'], {
    after: (t, answers) => {
      for (const answer of answers) {
        t.same(fieldsOf(answer, 'transfer-encoding'), ['chunked'])
        t.same(answer.head.slice(1).map(line => line.split(':')[0]!.toLowerCase()).sort(), ['cache-control',
          'connection', 'content-type', 'date', 'keep-alive', 'transfer-encoding', 'x-accel-buffering'])
      }
    }
  })
]

/** The first visit, whose client has stopped reading. */
async function stalled ({ visits }: Served): Promise<Visit> {
  await until('the request to be there', () => visits.length === 1)
  const [visit] = visits
  await soon('the source to stop', still(() => visit!.pulls + visit!.socket.bytesWritten, 100))
  return visit!
}

async function bodyOver (session: ClientHttp2Session, path: string): Promise<string> {
  return await text(session.request({ ':path': path }))
}

for (const way of WAYS) {
  for (const { title, run } of cases) t.test(`W1: ${title} (${nameOf(way)})`, t => run(t, way))
}

const CLIENTS = 10
const ROUNDS = 30

/** Texts of any length, separated by nothing, a promise, an event loop turn or a timer. */
function scriptsOf (chance: (below: number) => number): Record<string, readonly Step[]> {
  const waits: Step[] = [() => {}, () => Promise.resolve(), () => turn(), () => delay(chance(3))]
  const letters = ['a', 'é', '€', '😀']
  const stepsOf = (): Step[] => Array.from({ length: 1 + chance(12) }, () => [
    letters[chance(4)]!.repeat(chance(20) === 0 ? 30_000 : chance(40)),
    waits[chance(4)]!
  ]).flat()
  return Object.fromEntries(Array.from({ length: CLIENTS * ROUNDS }, (_, index) => [String(index), stepsOf()]))
}

for (const way of WAYS) {
  t.test(`W1: three hundred streams on ten connections, written to at any moment, are complete, and leave nothing behind (${nameOf(way)})`, async t => {
    await until('earlier timers and sockets to close', () => timersAndSockets().length === 0)
    const served = await serve(t, way, { scripts: scriptsOf(chances(2026)) })
    const { app, visits } = served
    const connections = promisify(app.server.getConnections.bind(app.server))
    const listening = listeners(app.server)
    const active = timersAndSockets()

    await Promise.all(Array.from({ length: CLIENTS }, async (_, index) => {
      const client = await open(served.port, { path: `/stream/${index}` })
      const { localPort } = client.socket
      for (let round = 1; round < ROUNDS; round++) {
        // At random times, some before the previous response has ended.
        if (round % 4 !== 0) await ended(client, round)
        client.request({ path: `/stream/${round * CLIENTS + index}` })
      }
      const answers = await answersOf(client, ROUNDS)
      const mine = visits.filter(({ port }) => port === localPort)
      await intact(t, answers, mine)
      t.equal(new Set(mine.map(({ socket }) => socket)).size, 1)
      const [{ socket }] = mine as [Visit]
      t.equal(socket.listenerCount('drain'), 1, 'Node\'s own')
      client.fin()
      await soon('the end', client.closed)
    }))

    t.equal(visits.length, CLIENTS * ROUNDS)
    t.ok(visits.every(({ isLeft, reason }) => isLeft && (reason === 'complete' || reason === 'channel-ended')))
    await until('the connections to close', async () => await connections() === 0)
    t.same(listeners(app.server), listening)
    t.same(timersAndSockets(), active)
    await app.close()
    await until('the server to close', () => timersAndSockets().length === 0)
    t.same(served.problems, [])
  })
}
