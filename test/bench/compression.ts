import { get } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { constants, createGunzip, createGzip } from 'node:zlib'
import { Contestant } from './contestant.ts'
import { runRounds, type Sample } from './rounds.ts'
import { cores } from './servers.ts'
import { median, spread, table } from './table.ts'

/*
 * `npm run build && npx tsx test/bench/compression.ts --rounds 5 --connections 1000 --events 200`
 *
 * One channel, many clients, one event per turn of the event loop: without compression, with the option `compress`, and
 * with a gzip context for each connection. The servers take turns, as in `npm run bench`. Prints Markdown.
 */
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    connections: { type: 'string', default: '1000' },
    events: { type: 'string', default: '200' }
  }
})
const number = (name: keyof typeof values): number => {
  const value = values[name]
  if (!/^[1-9]\d*$/.test(value)) throw new TypeError(`--${name} takes a whole number from 1, got ${value}`)
  return Number(value)
}
const [rounds, connections, events] = [number('rounds'), number('connections'), number('events')]

const REQUEST = 'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\nAccept-Encoding: gzip\r\n\r\n'
// After that time an event counts as lost.
const PATIENCE = 60_000
// The backlog of a listening socket holds 511 connections.
const AT_ONCE = 200
const KIB = 1_024
// Milliseconds without a byte after which all events have arrived.
const QUIET = 100
// One buffer for all connections.
const MEMORY = Buffer.allocUnsafe(64 * KIB)

/** Connections to one server. They count bytes: to decode all of them would slow the measured server. */
class Audience {
  /** Bytes of all connections of all audiences, by port. */
  static readonly received = new Map<number, number>()
  readonly #port: number
  readonly #sockets: Socket[] = []

  private constructor (port: number) {
    this.#port = port
  }

  static async open (port: number, size: number): Promise<Audience> {
    const audience = new Audience(port)
    for (let left = size; left > 0; left -= AT_ONCE) {
      await Promise.all(Array.from({ length: Math.min(left, AT_ONCE) }, () => audience.#join()))
    }
    return audience
  }

  close (): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Resolves with the first bytes. */
  #join (): Promise<void> {
    return new Promise((resolve, reject) => {
      const callback = (length: number): boolean => {
        Audience.received.set(this.#port, (Audience.received.get(this.#port) ?? 0) + length)
        resolve()
        return true
      }
      const socket = connect({ port: this.#port, host: '127.0.0.1', onread: { buffer: MEMORY, callback } })
      socket.on('error', reject)
      socket.on('end', () => { throw new Error('A server ended a connection') })
      socket.write(REQUEST)
      this.#sockets.push(socket)
    })
  }
}

const received = (contestant: Contestant): number =>
  (Audience.received.get(contestant.port) ?? 0) + decoders.get(contestant)!.socket!.bytesRead

/** Publishes events, and resolves when all bytes that the server has written have arrived, and no more follow. */
async function deliver (contestant: Contestant, events: number): Promise<number> {
  const startedAt = performance.now()
  await contestant.request('publish', events)
  for (let before = -1, quietSince = 0; ;) {
    const written = await contestant.request<number>('written')
    const now = performance.now()
    if (written !== before || written !== received(contestant)) {
      before = written
      quietSince = now
    } else if (now - quietSince > QUIET) {
      return (quietSince - startedAt) / 1_000
    }
    if (now - startedAt > PATIENCE) throw new Error(`${contestant.name} is not done after ${PATIENCE} ms`)
    await sleep(10)
  }
}

/** A client that decodes. Its text is compared between the servers. */
class Decoder {
  bytes = 0
  text = ''
  socket: Socket | undefined

  static open (port: number): Promise<Decoder> {
    const decoder = new Decoder()
    return new Promise((resolve, reject) => {
      get({ port, host: '127.0.0.1', agent: false, headers: { 'accept-encoding': 'gzip' } }, response => {
        decoder.socket = response.socket
        response.on('data', (chunk: Buffer) => { decoder.bytes += chunk.length })
        response.on('error', () => {})
        const body = response.headers['content-encoding'] === 'gzip'
          ? response.pipe(createGunzip({ flush: constants.Z_SYNC_FLUSH }))
          : response
        body.on('error', () => {})
        body.setEncoding('utf8').on('data', (text: string) => {
          decoder.text += text
          if (decoder.text.length === text.length) resolve(decoder)
        })
      }).on('error', reject)
    })
  }

  get data (): string { return (this.text.match(/^data: .+$/gm) ?? []).join('\n') }
}

/** Returns the bytes of one gzip context with a flush after each frame. */
async function oneContext (text: string): Promise<number> {
  const gzip = createGzip({ flush: constants.Z_SYNC_FLUSH })
  let bytes = 0
  gzip.on('data', (chunk: Buffer) => { bytes += chunk.length })
  for (const frame of text.split(/(?<=\n\n)/)) {
    await new Promise<void>((resolve, reject) => {
      gzip.write(frame, error => { error == null ? resolve() : reject(error) })
    })
  }
  return bytes
}

const NAMES: Record<string, string> = {
  off: 'fastify-typed-sse',
  on: 'fastify-typed-sse, `compress`',
  plain: 'node:http',
  'per-connection': 'node:http, a gzip context per connection'
}
const contestants = Object.entries(NAMES).map(([file, name]) => new Contestant(name, `compressed/${file}.js`, { cores }))
await Promise.all(contestants.map(contestant => contestant.listening()))

const memory = new Map<Contestant, { heap: number, rss: number }>()
const decoders = new Map<Contestant, Decoder>()
const audiences = new Map<Contestant, Audience>()
for (const contestant of contestants) {
  decoders.set(contestant, await Decoder.open(contestant.port))
  // Code and buffers that all connections share are there before.
  const first = await Audience.open(contestant.port, Math.min(50, connections))
  await deliver(contestant, 50)
  const before = await contestant.memory()
  const audience = await Audience.open(contestant.port, connections)
  await deliver(contestant, 50)
  const after = await contestant.memory()
  memory.set(contestant, {
    heap: (after.heap - before.heap) / connections / KIB,
    rss: (after.rss - before.rss) / connections / KIB
  })
  first.close()
  audiences.set(contestant, audience)
}
const load = (contestant: Contestant): Promise<number> => deliver(contestant, events)
const [samples = new Map<Contestant, Sample[]>()] = await runRounds([{ load }], contestants, rounds)
for (const audience of audiences.values()) audience.close()

const [off, on, , perConnection] = contestants as [Contestant, Contestant, Contestant, Contestant]
const texts = contestants.map(contestant => decoders.get(contestant)!.data)
if (new Set(texts).size !== 1 || texts[0] === '') throw new Error('The servers did not send the same events')
const context = await oneContext(decoders.get(on)!.text)
const cpu = (contestant: Contestant): number[] => samples.get(contestant)!.map(({ cpu }) => cpu)
console.log(table(
  [`${connections.toLocaleString('en-US')} connections, one event of 200 bytes per turn`, 'server CPU per delivery, µs',
    '× without compression', 'bytes of a client', '× one context', 'heap and buffers each, KiB', 'RSS each, KiB'],
  contestants.map(contestant => {
    const { heap, rss } = memory.get(contestant)!
    const base = cpu(contestant === perConnection ? contestants[2]! : off)
    const { bytes, text } = decoders.get(contestant)!
    return [
      contestant.name,
      spread(cpu(contestant).map(each => each / events / connections), 2),
      spread(cpu(contestant).map((each, round) => each / base[round]!), 2),
      bytes.toLocaleString('en-US'),
      ((bytes / text.length) / (context / decoders.get(on)!.text.length)).toFixed(2),
      heap.toFixed(1),
      rss.toFixed(1)
    ]
  })
))
console.log(`\nOne gzip context of the same text: ${context.toLocaleString('en-US')} bytes, median ratio of CPU ${
  median(cpu(on).map((each, round) => each / cpu(off)[round]!)).toFixed(2)}. Node.js ${process.version}.`)
await Promise.all(contestants.map(contestant => contestant.stop()))
process.exit()
