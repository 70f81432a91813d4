import { get } from 'node:http'
import http2 from 'node:http2'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import t from 'tap'
import sse, { EventQueue, StreamClosedError, type CloseReport, type SseSource, type AnyEvent } from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { liftLoopBudget } from '../setup/loop-budget.ts'
import { open } from '../setup/raw.ts'
import { still, within } from '../setup/within.ts'

type Test = Pick<typeof t, 'teardown'>

const MB = 1024 * 1024
const KB = 'x'.repeat(1024)
// More than the kernel buffers for a connection whose client does not read.
const MANY = 12_000

const parked = (): Promise<never> => new Promise(() => {})

/** A client that can stop reading. */
interface Reader {
  stream: Readable
  /** The data of the events. Resolves when the response is over. */
  all: () => Promise<string[]>
}

const dataOf = (body: string): string[] => body.split('\n\n').slice(0, -1).map(frame => frame.replace('data: ', ''))

async function overHttp1 (t: Test, port: number): Promise<Reader> {
  const client = await open(port, { headers: { connection: 'close' }, pauseOnConnect: true })
  t.teardown(() => client.socket.destroy())
  return {
    stream: client.socket,
    all: async () => {
      await client.closed
      return dataOf(client.responses()[0]?.body ?? '')
    }
  }
}

async function overHttp2 (t: Test, port: number): Promise<Reader> {
  const session = http2.connect(`http://127.0.0.1:${port}`)
  t.teardown(() => session.destroy())
  session.on('error', () => {})
  const request = session.request({ ':path': '/' })
  request.on('error', () => {})
  const chunks: Buffer[] = []
  const over = new Promise(resolve => request.once('close', resolve))
  request.pause()
  request.on('data', (chunk: Buffer) => { chunks.push(chunk) })
  request.pause()
  return {
    stream: request,
    all: async () => {
      await over
      return dataOf(Buffer.concat(chunks).toString())
    }
  }
}

/** Reads one chunk, pauses, and so on. Returns a function that reads at full speed again. */
function drip (stream: Readable): () => void {
  const wait = (): void => {
    stream.pause()
    setTimeout(() => stream.resume(), 5)
  }
  stream.on('data', wait).resume()
  return () => stream.off('data', wait)
}

const versions = [
  { version: 'HTTP/1.1', make: (): FastifyInstance => Fastify(), connect: overHttp1 },
  {
    version: 'HTTP/2',
    make: (): FastifyInstance => Fastify({ http2: true }) as unknown as FastifyInstance,
    connect: overHttp2
  }
]

/** Numbered events that are always ready, and how many were pulled. */
class Supply {
  pulled = 0
  readonly #count: number
  constructor (count: number) { this.#count = count }

  * sync (): Generator<AnyEvent> {
    while (this.pulled < this.#count) yield { data: `${this.pulled++} ${KB}` }
  }

  async * async (): AsyncGenerator<AnyEvent> {
    yield * this.sync()
  }

  readable (): Readable {
    return Readable.from(this.sync())
  }

  web (): ReadableStream<AnyEvent> {
    const events = this.sync()
    return new ReadableStream<AnyEvent>({
      pull: controller => {
        const { value, done } = events.next()
        if (done === true) controller.close()
        else controller.enqueue(value as AnyEvent)
      }
    })
  }

  static readonly forms = ['sync', 'async', 'readable', 'web'] as const
}

for (const { version, make, connect } of versions) {
  for (const form of version === 'HTTP/1.1' ? Supply.forms : ['async'] as const) {
    t.test(`L4: over ${version} a client that stops reading pauses the ${form} source, and receives all events in order when it reads again`, async t => {
      const app = make()
      await app.register(sse)
      const supply = new Supply(MANY)
      let reply!: FastifyReply
      app.get('/', (_request, r) => (reply = r).sse(supply[form]()))
      const client = await connect(t, await listen(t, app))
      const stopped = await within('the source to stop', untilStopped(supply))
      t.ok(stopped < MANY, `${stopped} of ${MANY} events were pulled`)
      t.ok(reply.raw.writableLength < MB, `${reply.raw.writableLength} bytes wait in the process`)
      await delay(200)
      t.equal(supply.pulled, stopped, 'a stalled stream pulls nothing')
      client.stream.resume()
      const data = await within('the whole stream', client.all())
      t.same(data.map(text => Number(text.split(' ')[0])), [...Array(MANY).keys()],
        'nothing lost, nothing twice, in order')
    })
  }

  t.test(`L4: over ${version} a slow reader receives everything`, async t => {
    const app = make()
    await app.register(sse)
    const supply = new Supply(MANY / 6)
    app.get('/', (_request, reply) => reply.sse(supply.async()))
    const client = await connect(t, await listen(t, app))
    drip(client.stream)
    const data = within('the whole stream', client.all())
    t.same((await data).map(text => Number(text.split(' ')[0])), [...Array(MANY / 6).keys()])
  })

  t.test(`L4: over ${version} a client that reads no bytes for the stallTimeout is disconnected`, async t => {
    const app = make()
    const reports: CloseReport[] = []
    await app.register(sse, { stallTimeout: 200 })
    const supply = new Supply(Infinity)
    let aborted!: Promise<unknown>
    let over!: Promise<void>
    const called = new Promise<void>(resolve => {
      app.get('/', (_request, reply) => {
        over = reply.sse(({ signal }) => {
          aborted = new Promise(resolve => signal.addEventListener('abort', () => resolve(signal.reason)))
          return supply.async()
        }, { onClose: report => { reports.push(report) } })
        resolve()
        return over
      })
    })
    await connect(t, await listen(t, app))
    await called
    await within('the end', over)
    const reason = await aborted
    t.type(reason, StreamClosedError)
    t.equal((reason as StreamClosedError).reason, 'stalled')
    t.same(reports.map(report => report.reason), ['stalled'])
  })
}

async function untilStopped (supply: Supply): Promise<number> {
  while (supply.pulled === 0) await turn()
  return await still(() => supply.pulled)
}

t.test('L4: a slow reader that keeps reading one large event is not disconnected', async t => {
  const app = Fastify()
  const stallTimeout = 500
  await app.register(sse, { stallTimeout })
  const large = 'x'.repeat(32 * MB)
  const reports: CloseReport[] = []
  app.get('/', (_request, reply) => reply.sse([{ data: large }], { onClose: report => { reports.push(report) } }))
  const client = await open(await listen(t, app), { headers: { connection: 'close' }, pauseOnConnect: true })
  t.teardown(() => client.socket.destroy())
  const readOn = drip(client.socket)
  await delay(3 * stallTimeout)
  t.same(reports, [], 'three times the stallTimeout later the stream is still on its way')
  readOn()
  t.equal(await within('the end', client.closed), 'end')
  t.equal(client.responses()[0]?.body.length, large.length + 'data: \n\n'.length)
  t.same(reports.map(report => report.reason), ['complete'])
})

t.test('L6: heartbeats are skipped while bytes wait', async t => {
  const app = Fastify()
  await app.register(sse, { heartbeatInterval: 10 })
  let reply!: FastifyReply
  let socket!: Socket
  app.get('/', (request, r) => {
    reply = r
    socket = request.raw.socket
    return reply.sse((async function * () {
      yield { data: 'x'.repeat(8 * MB) }
      await parked()
    })())
  })
  const client = await open(await listen(t, app), { pauseOnConnect: true })
  t.teardown(() => client.socket.destroy())
  const waiting = (): number => reply?.raw.writableLength + socket?.bytesWritten
  const stopped = await still(waiting, 100)
  await delay(300)
  t.equal(waiting(), stopped, 'thirty heartbeats later not a byte was added')
  client.resume()
  await within('a heartbeat', client.until('\r\n3\r\n:\n\n\r\n'))
  t.equal(client.frames()[0]?.length, 8 * MB + 'data: '.length)
  t.equal(client.frames()[1], ':', 'once the client has caught up they go on')
})

t.test('L6: heartbeats start with the head, not with the first event', async t => {
  const app = Fastify()
  await app.register(sse, { heartbeatInterval: 20, flushHeadersAfter: 0 })
  app.get('/', (_request, reply) => reply.sse((async function * (): AsyncGenerator<AnyEvent> { await parked() })()))
  const client = await open(await listen(t, app))
  t.teardown(() => client.socket.destroy())
  await within('the opening comment and three heartbeats', client.until('3\r\n:\n\n\r\n'.repeat(4)))
  t.same(client.frames().slice(0, 4), [':', ':', ':', ':'])
})

function * endless (data: unknown): Generator<AnyEvent> {
  for (;;) yield { data }
}
async function * endlessAsync (data: unknown): AsyncGenerator<AnyEvent> {
  for (;;) yield { data }
}

const busy: Array<{ name: string, source: () => SseSource<AnyEvent>, onInvalid?: 'skip' }> = [
  { name: 'a sync iterable', source: () => endless('x') },
  { name: 'an async generator', source: () => endlessAsync('x') },
  { name: 'Readable.from() of an endless generator', source: () => Readable.from(endless('x')) },
  // None of these is ever written, so no full buffer stops the pulling.
  { name: 'a sync iterable of events that are skipped', source: () => endless(undefined), onInvalid: 'skip' },
  { name: 'an async generator of events that are skipped', source: () => endlessAsync(undefined), onInvalid: 'skip' }
]

for (const { name, source, onInvalid } of busy) {
  t.test(`L4: ${name}, always ready, does not starve the event loop`, async t => {
    const app = Fastify()
    await app.register(sse, onInvalid === undefined ? {} : { onInvalid })
    app.get('/', (_request, reply) => reply.sse(source()))
    app.get('/other', async () => 'here')
    const port = await listen(t, app)
    // Reads and discards: the fastest possible client.
    const greedy = get({ port, host: '127.0.0.1', path: '/', agent: false }, response => {
      response.on('error', () => {}).resume()
    })
    greedy.on('error', () => {})
    t.teardown(() => greedy.destroy())
    await within('turns of the loop', (async () => { for (let n = 0; n < 20; n++) await turn() })())
    await within('timers', (async () => { for (let n = 0; n < 3; n++) await delay(5) })())
    const other = await open(port, { path: '/other', headers: { connection: 'close' } })
    await within('another request', other.closed)
    t.equal(other.responses()[0]?.body, 'here')
  })
}

const LATER = ['b', 'c', 'd']
const head = (received: string): string => received.slice(received.indexOf('\r\n\r\n') + 4)

t.test('L5: a single event is sent at once: it arrives before the next one exists', async t => {
  const app = Fastify()
  await app.register(sse)
  const queue = new EventQueue()
  app.get('/', (_request, reply) => reply.sse(queue))
  const client = await open(await listen(t, app))
  t.teardown(() => client.socket.destroy())
  for (const data of ['a', ...LATER]) {
    await queue.push({ data })
    await within(data, client.until(`data: ${data}\n\n`))
  }
  t.equal(head(client.received), ['a', ...LATER].map(data => `9\r\ndata: ${data}\n\n\r\n`).join(''), 'a write for each')
})

t.test('L5: events 100 ms apart arrive separately', async t => {
  const app = Fastify()
  await app.register(sse)
  app.get('/', (_request, reply) => reply.sse((async function * () {
    for (const data of ['a', ...LATER]) {
      yield { data }
      await delay(100)
    }
  })()))
  const client = await open(await listen(t, app), { headers: { connection: 'close' } })
  const arrivals: number[] = []
  for (const data of ['a', ...LATER]) {
    await within(data, client.until(`data: ${data}\n\n`))
    arrivals.push(client.chunks.length)
  }
  t.same(arrivals, [...new Set(arrivals)], 'each arrived in a separate read')
  await client.closed
})

t.test('L5: events that are ready together are sent in one write', async t => {
  liftLoopBudget(t)
  const app = Fastify()
  await app.register(sse)
  const queue = new EventQueue({ capacity: 10 })
  app.get('/', (_request, reply) => reply.sse((async function * () {
    yield { data: 'a' }
    yield { data: 'b' }
    yield * queue
  })()))
  const client = await open(await listen(t, app))
  t.teardown(() => client.socket.destroy())
  await within('the first two', client.until('data: b\n\n'))
  for (const data of ['c', 'd', 'e']) queue.push({ data }).catch(t.threw)
  await within('the other three', client.until('data: e\n\n'))
  t.equal(head(client.received), '12\r\ndata: a\n\ndata: b\n\n\r\n1b\r\ndata: c\n\ndata: d\n\ndata: e\n\n\r\n')
  t.match(client.chunks.at(-1), /data: c\n\ndata: d\n\ndata: e\n\n/)
})
