import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import sse, { EventQueue } from 'fastify-typed-sse'
import t, { type Test } from 'tap'
import { listen } from '../setup/listen.ts'
import { Nginx, type HttpBlock } from '../setup/nginx.ts'
import { absent, NGINX } from '../setup/programs.ts'
import { within } from '../setup/within.ts'

t.setTimeout(300_000)

// The installed command, against a real nginx with good and bad settings.

/** Events of 500 bytes, ten a second; small events; and a silent stream without heartbeats. */
async function serve (t: Test): Promise<number> {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse)
  for (const [path, size] of [['/ticks', 500], ['/small', 1]] as const) {
    app.get(path, (_request, reply) => reply.sse(async function * ({ lastEventId, signal }) {
      for (let n = Number(lastEventId ?? 0) + 1; ; n++) {
        yield { id: n, data: `${n} ${'x'.repeat(size)}` }
        await sleep(100, undefined, { signal })
      }
    }))
  }
  app.get('/silent', (_request, reply) => {
    const queue = new EventQueue({ capacity: 1 })
    queue.push({ id: 1, data: 'one' })
    return reply.sse(queue, { heartbeatInterval: 0 })
  })
  return listen(t, app)
}

/** The settings of the documentation, or the defaults of nginx. */
const behind = (node: number, lines: string): HttpBlock => port => `
server {
  listen 127.0.0.1:${port};
  location / {
    proxy_pass http://127.0.0.1:${node};
    ${lines}
  }
}`

const GOOD = "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_buffering off; proxy_read_timeout 60s;"
// Without the header, only the configuration decides whether nginx buffers.
const BUFFERED = 'proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;'

interface Found { probe: string, mark: string, text: string, setting?: string }

async function see (
  t: Test,
  url: string,
  ...args: string[]
): Promise<{ code: number | null, marks: Record<string, string>, found: Found[] }> {
  const child = spawn(process.execPath, ['dist-client/cli.js', 'doctor', url, '--json', ...args], {
    stdio: ['ignore', 'pipe', 'ignore']
  })
  t.teardown(() => {
    child.kill('SIGKILL')
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', piece => { text += piece })
  const [code] = await within('the end', once(child, 'close'), 60_000) as [number | null]
  const { probes } = JSON.parse(text) as {
    probes: Array<{ name: string, mark: string, findings: Array<Omit<Found, 'probe'>> }>
  }
  return {
    code,
    marks: Object.fromEntries(probes.map(({ name, mark }) => [name, mark])),
    found: probes.flatMap(({ name, findings }) => findings.map(finding => ({ probe: name, ...finding })))
  }
}

const problems = (found: Found[]): Found[] => found.filter(({ mark }) => mark === 'problem')

t.test('doctor behind nginx', { skip: absent(NGINX), jobs: 4 }, async t => {
  const node = await serve(t)
  const urlOf = async (t: Test, lines: string, path: string): Promise<string> =>
    `http://127.0.0.1:${(await Nginx.start(t, behind(node, lines))).port}${path}`

  t.test('with the documented settings there is no problem', async t => {
    const { code, marks } = await see(t, await urlOf(t, GOOD, '/ticks'), '--seconds', '3')
    t.equal(code, 0)
    t.match(marks, { answer: 'ok', arrival: 'ok', compression: 'ok', silence: 'ok', HEAD: 'ok', reconnect: 'ok' })
  })

  t.test('over HTTP/1.0, with buffering, events are split: doctor reports buffering', async t => {
    const { code, found } = await see(t, await urlOf(t, `proxy_http_version 1.0; ${BUFFERED}`, '/ticks'), '--seconds',
      '5')
    t.equal(code, 1)
    t.match(problems(found), [{ probe: 'arrival', text: /^The stream looks buffered/, setting: /proxy_buffering off/ }])
  })

  t.test('small events do not arrive at all, and doctor distinguishes that from silence by the origin', async t => {
    const url = await urlOf(t, `proxy_http_version 1.0; ${BUFFERED}`, '/small')
    const [alone, compared] = await Promise.all([see(t, url, '--seconds', '3'),
      see(t, url, '--seconds', '3', '--origin', `http://127.0.0.1:${node}/small`)])
    // A head that reached nginx together with an event is held back with it. A head that arrived before is not.
    t.ok(alone.marks.answer === 'problem' || alone.marks.arrival === 'warning')
    t.match(problems(compared.found).filter(({ probe }) => probe === 'arrival'), [{ text: /^The stream is buffered/ }])
  })

  t.test('proxy_read_timeout closes a stream without heartbeats: doctor reports a limit for silence', async t => {
    const { code, found } = await see(t,
      await urlOf(t, `${GOOD} proxy_read_timeout 2s;`.replace('proxy_read_timeout 60s;', ''), '/silent'), '--seconds',
      '8')
    t.equal(code, 1)
    t.match(problems(found), [{
      probe: 'silence',
      text: /^The connection was cut after \d\.\d s without a byte/,
      setting: /proxy_read_timeout above heartbeatInterval/
    }])
  })

  t.test('gzip of nginx is reported, and delays nothing', async t => {
    const { code, found } = await see(t,
      await urlOf(t, `${GOOD} gzip on; gzip_types text/event-stream; gzip_proxied any; gzip_min_length 0;`, '/ticks'),
      '--seconds', '3')
    t.equal(code, 0)
    t.match(found.filter(({ probe }) => probe === 'compression'), [{
      mark: 'note',
      text: /^The stream is compressed \(gzip\) and no event is held back/
    }])
  })

  t.test('a node that is down is 502, after which an EventSource does not reconnect', async t => {
    const nginx = await Nginx.start(t, (port, other) => behind(other, GOOD)(port, other))
    const { code, found } = await see(t, `http://127.0.0.1:${nginx.port}/ticks`, '--seconds', '3')
    t.equal(code, 1)
    t.match(problems(found), [{ probe: 'answer', text: /^The status is 502/ }])
  })
})
