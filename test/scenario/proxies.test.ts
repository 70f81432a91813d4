import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { doctor } from '../../lib/cli/doctor.ts'
import sse, { EventQueue, type RegisterOptions } from '../../lib/index.ts'
import { absent, CADDY, HAPROXY, VARNISH } from '../setup/programs.ts'
import { startProxy, type ProxySetup } from '../setup/proxy.ts'
import { open, type RawClient, type RawRequest } from '../setup/raw.ts'
import { Shell } from '../setup/shell.ts'
import { within } from '../setup/within.ts'

t.setTimeout(240_000)

// The configurations of lib/server/proxies.md, between real clients and a real node.

const DOCUMENT = readFileSync('lib/server/proxies.md', 'utf8')
const soon = <T>(what: string, promise: Promise<T>): Promise<T> => within(what, promise, 30_000)

type Change = readonly [from: string, to: string]

/** A block of the document with its addresses replaced. Each replaced text must be in it. */
function snippet (language: string, changes: readonly Change[]): string {
  const text = new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'm').exec(DOCUMENT)?.[1] ?? ''
  return changes.reduce((before, [from, to]) => {
    if (!before.includes(from)) throw new Error(`${from} is not in the block of proxies.md`)
    return before.replaceAll(from, to)
  }, text)
}

interface Node { port: number, queue: EventQueue, signals: AbortSignal[], sent: () => number, reasons: string[] }

async function nodeOf (t: Test, options: RegisterOptions = {}): Promise<Node> {
  const app = Fastify({ forceCloseConnections: true })
  t.teardown(() => app.close())
  const node: Node = { port: 0, queue: new EventQueue(), signals: [], sent: () => sent, reasons: [] }
  await app.register(sse, { heartbeatInterval: 0, onClose: ({ reason }) => { node.reasons.push(reason) }, ...options })
  let sent = 0
  const data = 'x'.repeat(16_000)
  app.get('/events', (_request, reply) => reply.sse(({ signal }) => {
    node.signals.push(signal)
    return node.queue
  }))
  const shared = app.sse.channel('shared')
  app.get('/shared', (_request, reply) => reply.sse(shared))
  const timer = setInterval(() => { shared.publish({ data: '' }).catch(() => {}) }, 300)
  t.teardown(() => clearInterval(timer))
  app.get('/endless', (_request, reply) => reply.sse(function * ({ signal }) {
    node.signals.push(signal)
    for (; ; sent++) yield { data }
  }))
  node.port = Number(new URL(await app.listen({ port: 0, host: '127.0.0.1' })).port)
  return node
}

const haproxy = (node: Node, ...changes: Change[]): ProxySetup => ({
  program: HAPROXY,
  config: port =>
    snippet('haproxy', [['10.0.0.1:3000', `127.0.0.1:${node.port}`], ['bind :80', `bind 127.0.0.1:${port}`],
      ...changes]),
  args: file => ['-db', '-f', file]
})

const varnish = (node: Node, ...changes: Change[]): ProxySetup => ({
  program: VARNISH,
  config: () => snippet('vcl', [['10.0.0.1', '127.0.0.1'], ['3000', String(node.port)], ...changes]),
  args: (
    file,
    folder,
    port
  ) => ['-j', 'none', '-F', '-f', file, '-a', `127.0.0.1:${port}`, '-n', folder, '-s', 'malloc,32m']
})

const caddy = (node: Node): ProxySetup => ({
  program: CADDY,
  config: port =>
    `{\nadmin off\n}\n${
      snippet('caddyfile', [['10.0.0.1:3000', `127.0.0.1:${node.port}`], ['example.org', `http://:${port}`]])
    }`,
  args: file => ['run', '--config', file, '--adapter', 'caddyfile']
})

async function openClient (t: Test, port: number, request: RawRequest = {}): Promise<RawClient> {
  const client = await open(port, { path: '/events', ...request, headers: { accept: 'text/event-stream' } })
  t.teardown(() => client.socket.destroy())
  return client
}

/** Publishes each event after the client has received the one before. */
async function pingPong (node: Node, client: RawClient, last = 20): Promise<void> {
  await soon('the head', client.until('\r\n\r\n'))
  for (let n = 1; n <= last; n++) {
    await soon('the push', node.queue.push({ data: n }))
    await soon(`event ${n}`, client.until(`data: ${n}\n\n`))
  }
}

/** Returns the reason with which the stream's signal aborts. */
async function aborted (node: Node): Promise<unknown> {
  const signal = node.signals.at(-1)!
  if (!signal.aborted) await soon('the abort', once(signal, 'abort'))
  return (signal.reason as { reason?: unknown }).reason
}

async function untilSent (node: Node, events: number): Promise<void> {
  while (node.sent() < events) await new Promise(resolve => setTimeout(resolve, 20))
}

t.test('behind HAProxy', { skip: absent(HAPROXY) }, async t => {
  t.test('the head arrives before the first event, and each event when it is sent', async t => {
    const node = await nodeOf(t)
    await pingPong(node, await openClient(t, await startProxy(t, haproxy(node))))
  })

  t.test('without http-no-delay an event arrives later than with it', async t => {
    const [quick, slow] = [await nodeOf(t), await nodeOf(t)]
    const clients = [
      await openClient(t, await startProxy(t, haproxy(quick))),
      await openClient(t, await startProxy(t, haproxy(slow, ['  option http-no-delay\n', ''])))
    ] as const
    for (const client of clients) await soon('the head', client.until('\r\n\r\n'))
    const first: string[] = []
    for (let n = 1; n <= 5; n++) {
      const text = `data: ${n}\n\n`
      const order: string[] = []
      const both = Promise.all([clients[1].until(text).then(() => order.push('without')),
        clients[0].until(text).then(() => order.push('with'))])
      await Promise.all([slow.queue.push({ data: n }), quick.queue.push({ data: n })])
      await soon(`event ${n}`, both)
      first.push(order[0]!)
    }
    t.ok(first.filter(one => one === 'with').length >= 3, first.join())
  })

  t.test('doctor finds the missing http-no-delay beside the origin', async t => {
    const node = await nodeOf(t)
    const port = await startProxy(t, haproxy(node, ['  option http-no-delay\n', '']))
    const shell = new Shell()
    const [here, origin] = [port, node.port].map(each => `http://127.0.0.1:${each}/shared`) as [string, string]
    await soon('the end', doctor.run([here, '--origin', origin, '--seconds', '4'], shell))
    t.match(shell.stdout.text.replace(/\s+/g, ' '),
      /warning arrival: Each event is delayed on the way: .* Set: HAProxy: option http-no-delay/)
  })

  t.test('the disconnect of a client from a silent stream is detected with a heartbeat', async t => {
    const node = await nodeOf(t, { heartbeatInterval: 100 })
    const client = await openClient(t, await startProxy(t, haproxy(node)))
    await soon('the head', client.until('\r\n\r\n'))
    client.socket.destroy()
    t.equal(await aborted(node), 'client')
  })

  t.test('heartbeats keep a silent stream open beyond `timeout server`; without them it is cut', async t => {
    const [beating, silent] = [await nodeOf(t, { heartbeatInterval: 100 }), await nodeOf(t)]
    const changes: Change[] = [['timeout server 60s', 'timeout server 3s']]
    const kept = await openClient(t, await startProxy(t, haproxy(beating, ...changes)))
    await soon('the head', kept.until('\r\n\r\n'))
    const cut = await openClient(t, await startProxy(t, haproxy(silent, ...changes)))
    await soon('the cut', cut.closed)
    t.match(cut.responses(), [{ status: 200, complete: false }])
    await beating.queue.push({ data: 1 })
    await soon('the event', kept.until('data: 1\n\n'))
  })

  t.test('a client that does not read pauses its source, and is disconnected after stallTimeout', async t => {
    const node = await nodeOf(t, { stallTimeout: 200 })
    await openClient(t, await startProxy(t, haproxy(node)), { path: '/endless', pauseOnConnect: true })
    await soon('the first event', untilSent(node, 1))
    t.equal(await aborted(node), 'stalled')
  })
})

t.test('behind Varnish', { skip: absent(VARNISH) }, async t => {
  t.test('the head arrives before the first event, and each event when it is sent', async t => {
    const node = await nodeOf(t)
    await pingPong(node, await openClient(t, await startProxy(t, varnish(node))))
  })

  t.test('the disconnect of a client from a silent stream is detected at once', async t => {
    const node = await nodeOf(t)
    const client = await openClient(t, await startProxy(t, varnish(node)))
    await soon('the head', client.until('\r\n\r\n'))
    client.socket.destroy()
    t.equal(await aborted(node), 'client')
  })

  t.test('a client that does not read pauses its source, and is disconnected after stallTimeout', async t => {
    const node = await nodeOf(t, { stallTimeout: 200 })
    await openClient(t, await startProxy(t, varnish(node)), { path: '/endless', pauseOnConnect: true })
    await soon('the first event', untilSent(node, 1))
    t.equal(await aborted(node), 'stalled')
  })

  t.test('without `pipe`, Varnish reads more from the node than its client reads', async t => {
    // Without a limit: on a busy machine Varnish may not read for a while, which is no stall of its client.
    const node = await nodeOf(t, { stallTimeout: 0 })
    const port = await startProxy(t, varnish(node, ['return (pipe)', 'return (pass)']))
    await openClient(t, port, { path: '/endless', pauseOnConnect: true })
    // 64 MB, more than all socket buffers on the path hold.
    await soon('64 MB', untilSent(node, 4_000))
    t.strictSame(node.reasons, [])
  })
})

t.test('behind Caddy', { skip: absent(CADDY) }, async t => {
  t.test('the head arrives before the first event, and each event when it is sent', async t => {
    const node = await nodeOf(t)
    await pingPong(node, await openClient(t, await startProxy(t, caddy(node))))
  })

  t.test('the disconnect of a client from a silent stream is detected at once', async t => {
    const node = await nodeOf(t)
    const client = await openClient(t, await startProxy(t, caddy(node)))
    await soon('the head', client.until('\r\n\r\n'))
    client.socket.destroy()
    t.equal(await aborted(node), 'client')
  })

  t.test('a client that does not read pauses its source, and is disconnected after stallTimeout', async t => {
    const node = await nodeOf(t, { stallTimeout: 200 })
    await openClient(t, await startProxy(t, caddy(node)), { path: '/endless', pauseOnConnect: true })
    await soon('the first event', untilSent(node, 1))
    t.equal(await aborted(node), 'stalled')
  })
})
