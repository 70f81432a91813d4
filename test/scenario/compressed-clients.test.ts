import { spawn, spawnSync } from 'node:child_process'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { connect } from '../../lib/client.ts'
import sse, { EventQueue } from '../../lib/index.ts'
import { inEachEngine } from '../setup/engines/each.ts'
import { GzipReader } from '../setup/gzip-reader.ts'
import { listen } from '../setup/listen.ts'
import { absent, CURL, need, PYTHON } from '../setup/programs.ts'
import { until } from '../setup/until.ts'

t.setTimeout(300_000)

declare global {
  interface Window { numbers: number[] }
}

const ROUNDS = 25
const PAGE = `<!doctype html><link rel="icon" href="data:,"><script>
  window.numbers = []
  new EventSource(location.search.slice(1)).onmessage = ({ data }) => window.numbers.push(JSON.parse(data).n)
</script>`

/** A server with a channel and a queue, both compressed, that sends an event when the test says so. */
class Site {
  readonly app: FastifyInstance = Fastify({ forceCloseConnections: true })
  readonly codings: unknown[] = []
  port = 0
  #queue = new EventQueue()

  static async start (t: Test): Promise<Site> {
    const site = new Site()
    const { app } = site
    await app.register(sse, { heartbeatInterval: 100, retry: 50 })
    const news = app.sse.channel('news', { compress: true })
    app.get('/', (_request, reply) => reply.type('text/html').send(PAGE))
    app.get('/news', (_request, reply) => {
      reply.raw.once('close', () => site.codings.push(reply.getHeader('content-encoding')))
      return reply.sse(news)
    })
    app.get('/queue', (_request, reply) => {
      reply.raw.once('close', () => site.codings.push(reply.getHeader('content-encoding')))
      site.#queue = new EventQueue()
      return reply.sse(site.#queue, { compress: true })
    })
    site.port = await listen(t, app)
    return site
  }

  url (path: string): string { return `http://127.0.0.1:${this.port}${path}` }

  /** Sends events one by one, each when the client has the one before it. */
  async send (path: string, arrived: (n: number) => Promise<unknown>): Promise<void> {
    const { app } = this
    await until('the stream', () => app.sse.streams().length > 0)
    for (let n = 0; n < ROUNDS; n++) {
      const data = { n, text: `some words that each event has, and ${'more of them '.repeat(n % 4 * 20)}`, sign: '€😀' }
      if (path === '/news') await app.sse.channel('news', { compress: true }).publish({ data })
      else await this.#queue.push({ data })
      await arrived(n)
    }
  }

  /** Ends all streams, and returns their codings. */
  async end (): Promise<unknown[]> {
    await this.app.sse.drain()
    return this.codings
  }
}

const PATHS = ['/news', '/queue']
const sign = (n: number): string => `"n":${n},`

/** A program that prints what it decodes. */
function print (
  t: Test,
  command: string,
  args: readonly string[]
): { has: (text: string) => Promise<void>, code: Promise<number | null> } {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill())
  let printed = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { printed += text })
  return {
    has: text => until(`${text} of ${command}`, () => printed.includes(text)),
    code: new Promise(resolve => child.once('close', resolve))
  }
}

const DECODE = `
import http.client, sys, zlib
connection = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]))
connection.request('GET', sys.argv[2], headers={'Accept-Encoding': 'gzip'})
response = connection.getresponse()
decoder = zlib.decompressobj(31)
while True:
    piece = response.read1(65536)
    if not piece:
        break
    sys.stdout.buffer.write(decoder.decompress(piece))
    sys.stdout.buffer.flush()
sys.exit(0 if decoder.eof and response.getheader('Content-Encoding') == 'gzip' else 1)
`

t.test('curl --compressed prints each event as soon as it is published', { skip: absent(CURL) }, async t => {
  for (const path of PATHS) {
    const site = await Site.start(t)
    const curl = print(t, need(CURL), ['-sSN', '--compressed', site.url(path)])
    await site.send(path, n => curl.has(sign(n)))
    t.strictSame(await site.end(), ['gzip'])
    t.equal(await curl.code, 0)
  }
})

t.test('zlib of Python decodes each event as soon as it is published, and the end', { skip: absent(PYTHON) }, async t => {
  for (const path of PATHS) {
    const site = await Site.start(t)
    const python = print(t, need(PYTHON), ['-c', DECODE, String(site.port), path])
    await site.send(path, n => python.has(sign(n)))
    await site.end()
    t.equal(await python.code, 0)
  }
})

t.test('fetch of Node decodes each event as soon as it is published, and the end', async t => {
  for (const path of PATHS) {
    const site = await Site.start(t)
    const { body, headers } = await fetch(site.url(path))
    t.equal(headers.get('content-encoding'), 'gzip')
    let text = ''
    const over = body!.pipeThrough(new TextDecoderStream()).pipeTo(new WritableStream({
      write: chunk => { text += chunk }
    }))
    await site.send(path, n => until(sign(n), () => text.includes(sign(n))))
    await site.end()
    await over
    t.match(text, sign(ROUNDS - 1))
  }
})

t.test('zlib of Node decodes each event as soon as it is published, and gzip -t accepts the whole', async t => {
  for (const path of PATHS) {
    const site = await Site.start(t)
    const reader = await GzipReader.open(site.port, path)
    await site.send(path, n => reader.has(sign(n)))
    await site.end()
    t.equal(await reader.over, 'end')
    const { status, stderr } = spawnSync('gzip', ['-t'], { input: Buffer.concat(reader.raw), encoding: 'utf8' })
    t.strictSame([status, stderr], [0, ''])
  }
})

t.test('the client of the package reads each event of a compressed stream as soon as it is published', async t => {
  for (const path of PATHS) {
    const site = await Site.start(t)
    const numbers: number[] = []
    const stream = connect(site.url(path), { reconnect: true })
    const reading = (async () => {
      for await (const { data } of stream) if (data !== '') numbers.push((JSON.parse(data) as { n: number }).n)
    })()
    await site.send(path, n => until(`event ${n}`, () => numbers.at(-1) === n))
    t.strictSame(numbers, Array.from({ length: ROUNDS }, (_, n) => n))
    stream.close()
    await reading
    await until('the end', () => site.codings.length > 0)
    t.strictSame(site.codings, ['gzip'])
  }
})

t.test('EventSource of each engine', t => {
  inEachEngine(t, 1, (t, engine) => {
    for (const path of PATHS) {
      t.test(`decodes each event of ${path} as soon as it is published`, async t => {
        const site = await Site.start(t)
        const page = await engine.open(t, site.url(`/?${path}`))
        await site.send(path, n => page.until(`event ${n}`, n => window.numbers.at(-1) === n, n))
        t.strictSame(await page.evaluate(() => window.numbers), Array.from({ length: ROUNDS }, (_, n) => n))
        t.equal((await site.end())[0], 'gzip')
      })
    }
  })
  t.end()
})
