import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import cors from '@fastify/cors'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { doctor } from '../../lib/cli/doctor.ts'
import type { Probe } from '../../lib/cli/doctor/finding.ts'
import sse, { EventQueue } from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { answers, Scripted } from '../setup/scripted.ts'
import { Shell } from '../setup/shell.ts'
import { buffers, compresses, cutsSilence, keepsAll, oldProxy, passes, toyProxy } from '../setup/toy-proxy.ts'
import { within } from '../setup/within.ts'

t.setTimeout(300_000)

/** A real app: ten events of 500 bytes per second, and a stream with one event only. */
async function serve (t: Test, prepare: (app: FastifyInstance) => unknown = () => {}): Promise<number> {
  const app = Fastify({ forceCloseConnections: true })
  await prepare(app)
  await app.register(sse)
  app.get('/ticks', (_request, reply) => reply.sse(async function * ({ lastEventId, signal }) {
    for (let n = Number(lastEventId ?? 0) + 1; ; n++) {
      yield { id: n, data: `${n} ${'x'.repeat(500)}` }
      await sleep(100, undefined, { signal })
    }
  }))
  app.get('/silent', (_request, reply) => {
    const queue = new EventQueue({ capacity: 1 })
    queue.push({ id: 1, data: 'one' })
    return reply.sse(queue, { heartbeatInterval: 0 })
  })
  return listen(t, app)
}

interface Report { url: string, seconds: number, probes: Probe[] }

async function see (
  url: string,
  ...args: string[]
): Promise<{ code: number, marks: Record<string, string>, found: string }> {
  const shell = new Shell()
  const code = await within('the end', doctor.run([url, '--json', ...args], shell), 60_000)
  const { probes } = JSON.parse(shell.stdout.text) as Report
  return {
    code,
    marks: Object.fromEntries(probes.map(({ name, mark }) => [name, mark])),
    found: probes.flatMap(({ findings }) => findings.map(({ mark, text }) => `${mark}: ${text}`)).join('\n')
  }
}

t.test('doctor diagnoses several proxies in front of a real app', { jobs: 2 }, async t => {
  const port = await serve(t)

  t.test('a stream without problems has exit code 0', async t => {
    const { code, marks } = await see(`${await toyProxy(t, port, passes)}/ticks`, '--seconds', '3')
    t.equal(code, 0)
    t.strictSame(marks, {
      answer: 'ok',
      protocol: 'note',
      arrival: 'ok',
      compression: 'ok',
      silence: 'ok',
      HEAD: 'ok',
      reconnect: 'ok'
    })
  })

  t.test('a buffering proxy is reported: events are torn at the size of its buffer', async t => {
    const { code, marks, found } = await see(`${await toyProxy(t, port, buffers(4_096))}/ticks`, '--seconds', '4')
    t.equal(code, 1)
    t.equal(marks.arrival, 'problem')
    t.match(found, /problem: The stream looks buffered: .* ended in the middle of an event .*4096.* bytes/)
  })

  t.test('a large buffer looks like silence, and the origin shows the difference', async t => {
    const url = `${await toyProxy(t, port, buffers(1e6))}/ticks`
    const [alone, compared] = await Promise.all([see(url, '--seconds', '3'),
      see(url, '--seconds', '3', '--origin', `http://127.0.0.1:${port}/ticks`)])
    t.equal(alone.marks.arrival, 'warning')
    t.match(alone.found, /From here a silent stream looks like a buffered one/)
    t.equal(compared.code, 1)
    t.match(compared.found, /problem: The stream is buffered: the origin sent its first byte/)
  })

  t.test('a proxy that holds the head does not respond, and the origin does', async t => {
    const url = `${await toyProxy(t, port, keepsAll)}/ticks`
    const [alone, compared] = await Promise.all([see(url, '--seconds', '3'),
      see(url, '--seconds', '3', '--origin', `http://127.0.0.1:${port}/ticks`)])
    t.strictSame([alone.marks, compared.marks], [{ answer: 'problem', protocol: 'note' }, {
      answer: 'problem',
      protocol: 'note',
      arrival: 'problem'
    }])
    t.match(compared.found, /problem: The stream is buffered: the origin sent its first byte/)
  })

  t.test('no event is held back if the origin is as late', async t => {
    const { marks, found } = await see(`${await toyProxy(t, port, passes)}/ticks`, '--seconds', '2', '--origin',
      `http://127.0.0.1:${port}/ticks`)
    t.equal(marks.arrival, 'note')
    t.match(found, /Compared with the origin no event is held back/)
  })

  t.test('compression without a flush is reported', async t => {
    const { code, marks, found } = await see(`${await toyProxy(t, port, compresses)}/ticks`, '--seconds', '3')
    t.equal(code, 1)
    t.match(marks, { arrival: 'ok', compression: 'problem' })
    t.match(found, /problem: Compression holds events back: with gzip/)
  })

  t.test('a limit for silence is reported, with the second cut', async t => {
    const { code, marks, found } = await see(`${await toyProxy(t, port, cutsSilence(1_500))}/silent`, '--seconds', '8')
    t.equal(code, 1)
    t.equal(marks.silence, 'problem')
    t.match(found, /problem: The connection was cut after \d\.\d s without a byte/)
  })

  t.test('a proxy with HTTP/1.0 is reported', async t => {
    const { code, marks, found } = await see(`${await oldProxy(t, port)}/ticks`, '--seconds', '2')
    t.equal(code, 0)
    t.equal(marks.protocol, 'warning')
    t.match(found, /warning: The response is HTTP\/1\.0/)
  })
})

t.test('a page of another origin is allowed with @fastify/cors, and not without', async t => {
  const page = ['--browser-origin', 'https://app.example', '--seconds', '1']
  const allowed = await serve(t,
    app =>
      app.register(cors, {
        origin: 'https://app.example',
        credentials: true,
        allowedHeaders: ['Authorization', 'Last-Event-ID']
      }))
  t.equal((await see(`http://127.0.0.1:${allowed}/ticks`, ...page)).marks.CORS, 'ok')
  const { code, marks } = await see(`http://127.0.0.1:${await serve(t)}/ticks`, ...page)
  t.equal(code, 1)
  t.equal(marks.CORS, 'problem')
})

t.test('the report has a line for each probe, and the settings', async t => {
  const shell = new Shell()
  shell.stdout.isTTY = true
  t.equal(await doctor.run([`http://127.0.0.1:${await serve(t)}/ticks`, '--seconds', '1'], shell), 0)
  t.match(shell.stdout.text, /^\x1b\[32mok {5}\x1b\[0m {2}answer {7}200 text\/event-stream/) // eslint-disable-line no-control-regex
  t.match(shell.stderr.text, /^Examining http:\/\/127\.0\.0\.1:\d+\/ticks for 1 s …\n$/)
})

t.test('a response that is no stream has only the first probes', async t => {
  const server = await Scripted.start(t, answers(401))
  const { code, marks, found } = await see(server.url, '--seconds', '1')
  t.equal(code, 1)
  t.strictSame(marks, { answer: 'problem', protocol: 'note' })
  t.match(found, /The status is 401/)
})

t.test('an unreachable server has exit code 3', async t => {
  const server = await Scripted.start(t, answers(204))
  const { url } = server
  await server.stop()
  const shell = new Shell()
  t.equal(await doctor.run([url], shell), 3)
  t.match(shell.stderr.text, /The server cannot be reached: connect ECONNREFUSED/)
  t.equal(shell.stdout.text, '')
})

t.test('a server that does not accept TLS has exit code 3', async t => {
  const silent = createServer(socket => sockets.add(socket.on('error', () => {}))).listen(0, '127.0.0.1')
  const sockets = new Set<Socket>()
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    silent.close()
  })
  await once(silent, 'listening')
  const shell = new Shell()
  // TLS needs two connections.
  t.equal(await doctor.run([`https://127.0.0.1:${(silent.address() as AddressInfo).port}/`, '--seconds', '0.2'], shell),
    3)
  t.match(shell.stderr.text, /The server cannot be reached: no connection for 0\.2 s/)
})

t.test('Ctrl-C ends doctor with 130, without a report', async t => {
  const shell = new Shell()
  const code = doctor.run([`http://127.0.0.1:${await serve(t)}/silent`, '--origin', 'http://127.0.0.1:9/',
    '--browser-origin', 'http://a.example'], shell)
  await shell.stderr.until('Examining')
  setImmediate(() => shell.interrupt())
  t.equal(await within('the end', code), 130)
  t.equal(shell.stdout.text, '')
})

t.test('a closed stdout is no failure', async t => {
  const server = await Scripted.start(t, answers(204))
  const shell = new Shell()
  shell.stdout.failure = new Error('write EPIPE')
  t.equal(await doctor.run([server.url], shell), 0)
})

t.test('an invalid number, URL or origin is a usage error', async t => {
  for (const args of [['--seconds', '0'], ['--origin', 'x'], ['--browser-origin', 'https://app.example/page'], [
    '--browser-origin',
    'app.example'
  ]]) {
    await t.rejects(doctor.run(['http://127.0.0.1/', ...args], new Shell()), { code: 'FST_SSE_USAGE' })
  }
})
