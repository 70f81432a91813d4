import type { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import type { Test } from 'tap'
import sse, { type AnyEvent, type Channel, type CloseReason } from '../../lib/index.ts'
import { listen } from './listen.ts'
import { live } from './marks.ts'
import type { RawClient } from './raw.ts'
import { within } from './within.ts'

// The same stream, with its bytes written to the socket in different ways. Clients must see no difference.

export interface Way {
  source: 'pulled' | 'channel'
  directWrites: boolean
  /** An onSend hook receives the body: it is sent through `reply.send`, and starts later. */
  hooked?: boolean
}

const sources = ['pulled', 'channel'] as const
export const WAYS: readonly Way[] = [
  ...sources.flatMap(source => [true, false].map(directWrites => ({ source, directWrites }))),
  { source: 'pulled', directWrites: true, hooked: true }
]
export const nameOf = ({ source, directWrites, hooked = false }: Way): string =>
  `${source}, directWrites: ${directWrites}${hooked ? ', hooked' : ''}`

/** A step of a source: it sends a text, or does something in between. The handler writes `own` itself. */
export type Step = string | { own: string } | ((visit: Visit) => unknown)

// More than the kernel's buffers of both sides hold.
export const FLOOD: readonly Step[] = Array.from({ length: 600 }, (_, index) => `${index} ${'x'.repeat(32 * 1024)}`)
export const SCRIPTS: Record<string, readonly Step[]> = {
  short: ['a', 'é€😀', '', 'x'.repeat(300), '日本', 'z'],
  // One of them is far too large to be joined with others in one write.
  long: Array.from({ length: 40 }, (_, index) => index === 20 ? 'ß€'.repeat(40_000) : `${index} ${'ü'.repeat(index)}`),
  held: ['first', visit => visit.hold(), 'second', 'third'],
  flood: FLOOD
}

/** A request seen from the server, and everything that it caused. */
export class Visit {
  readonly reply: FastifyReply
  readonly socket: Socket
  /** The port of the client. */
  readonly port: number | undefined
  /** The number of texts that were pulled from the source. */
  pulls = 0
  /** How often its `finally` ran. */
  finals = 0
  reason: CloseReason | undefined
  /** Settles with `reply.sse()`. */
  over!: Promise<void>
  /** Settles when everything is published. */
  published: Promise<void> = Promise.resolve()
  /** Lets the script continue. */
  free!: () => void
  readonly #steps: readonly Step[]
  readonly #gone: Promise<unknown>
  readonly #freed: Promise<void>
  #channel: Channel | undefined
  #epoch = ''
  #signal: AbortSignal | undefined

  constructor (reply: FastifyReply, steps: readonly Step[]) {
    this.reply = reply
    this.socket = reply.request.raw.socket
    this.port = this.socket.remotePort
    this.#steps = steps
    this.#gone = new Promise(resolve => reply.raw.once('close', resolve))
    this.#freed = new Promise(resolve => { this.free = resolve })
  }

  async start ({ source, directWrites }: Way, name: string): Promise<void> {
    const { server } = this.reply
    // The registration has the option for pulled sources, the channel has its own: both levels are tested.
    // On a busy machine the first event may be late, and a comment in front of it would change the body.
    const options = {
      flushHeadersAfter: 60_000,
      onClose: ({ reason }: { reason: CloseReason }) => {
        this.reason = reason
      }
    }
    if (source === 'pulled') {
      this.over = this.reply.sse(({ signal }) => {
        this.#signal = signal
        return this.#events()
      }, options)
    } else {
      this.#channel = server.sse.channel(name, { history: { maxEvents: 1e6, maxBytes: 1e9 } })
      this.#epoch = (await this.#channel.position()).epoch
      this.over = this.reply.sse(this.#channel, { ...options, directWrites })
      this.published = this.#publish(this.#channel)
    }
    await this.over
  }

  /** Waits until the test calls `free`, or the client disconnects. */
  async hold (): Promise<void> {
    await Promise.race([this.#freed, this.#gone])
  }

  /** The body that the client must receive. */
  get body (): string {
    let offset = 0
    const frame = (text: string): string =>
      this.#channel === undefined ? `data: ${text}\n\n` : `id: ${this.#epoch}-${++offset}\ndata: ${text}\n\n`
    const opening = this.#channel === undefined ? '' : live(`event: sse.position\nid: ${this.#epoch}-0\ndata: \n\n`)
    return opening +
      this.#steps.map(step => typeof step === 'string' ? frame(step) : typeof step === 'object' ? step.own : '').join(
        ''
      )
  }

  /** True if the source was notified that its reader has left. */
  get isLeft (): boolean {
    return this.#channel === undefined
      ? this.finals === 1 && this.#signal?.aborted === true
      : this.#channel.subscribers === 0
  }

  async * #events (): AsyncGenerator<AnyEvent> {
    for await (const data of this.#texts()) yield { data }
  }

  async #publish (channel: Channel): Promise<void> {
    // Waits for the client, which would not receive earlier events.
    while (!this.reply.raw.headersSent && this.reason === undefined) await turn()
    for await (const data of this.#texts()) await channel.publish({ data })
    await channel.end()
  }

  /** Every third text is ready together with the one before it; the others are in separate turns. */
  async * #texts (): AsyncGenerator<string> {
    try {
      for (const [index, step] of this.#steps.entries()) {
        if (typeof step === 'string') {
          this.pulls++
          yield step
        } else if (typeof step === 'object') {
          // After the events that were ready before.
          await turn()
          this.reply.raw.write(step.own)
        } else {
          await step(this)
        }
        if (index % 3 !== 1) await turn()
      }
    } finally {
      this.finals++
    }
  }
}

export interface Served {
  app: FastifyInstance
  port: number
  /** In order of arrival. */
  visits: Visit[]
  /** Errors and warnings of the server. */
  problems: unknown[]
}

export interface ServeOptions {
  /** Options of Fastify. */
  server?: object
  scripts?: Record<string, readonly Step[]>
  /** Runs before the routes are declared. */
  setup?: (app: FastifyInstance) => unknown
  /** Runs in the handler, before the stream. */
  prepare?: (reply: FastifyReply) => void
}

/** An app whose `/stream/<script>` is a stream, and `/plain` is not. */
export async function serve (
  t: Pick<Test, 'teardown'>,
  way: Way,
  { server = {}, scripts = SCRIPTS, setup, prepare }: ServeOptions = {}
): Promise<Served> {
  const visits: Visit[] = []
  const problems: unknown[] = []
  const logger = { level: 'warn', stream: { write: (line: string) => { problems.push(line) } } }
  const app = Fastify({ ...server, logger, forceCloseConnections: true })
  app.server.on('clientError', error => { problems.push(error) })
  await setup?.(app)
  if (way.hooked === true) app.addHook('onSend', async () => {})
  await app.register(sse, { directWrites: way.source === 'pulled' ? way.directWrites : !way.directWrites })
  app.route<{ Params: { script: string } }>({
    method: ['GET', 'POST'],
    url: '/stream/:script',
    handler: (request, reply) => {
      const visit = new Visit(reply, scripts[request.params.script]!)
      visits.push(visit)
      prepare?.(reply)
      return visit.start(way, `channel ${visits.length}`)
    }
  })
  app.get('/plain', async () => ({ plain: true }))
  return { app, port: await listen(t, app), visits, problems }
}

export interface Answer { head: string[], body: Buffer, trailers: string }

const SIZE = /([1-9a-f][0-9a-f]*|0)\r\n/y

/** Parses the complete responses on a connection. Throws at any missing or extra octet. */
export function read (bytes: string): Answer[] {
  const answers: Answer[] = []
  for (let at = 0; at < bytes.length;) {
    const headEnd = bytes.indexOf('\r\n\r\n', at)
    const head = bytes.slice(at, headEnd).split('\r\n')
    if (headEnd === -1 || !/^HTTP\/1\.1 \d{3} /.test(head[0]!)) {
      throw new Error(`no head at ${at}: ${JSON.stringify(bytes.slice(at, at + 100))}`)
    }
    at = headEnd + 4
    const answer: Answer = { head, body: Buffer.alloc(0), trailers: '' }
    answers.push(answer)
    const length = fieldsOf(answer, 'content-length')[0]
    if (length !== undefined || head[0]!.startsWith('HTTP/1.1 100 ')) {
      answer.body = Buffer.from(bytes.slice(at, at + Number(length ?? 0)), 'latin1')
      at += answer.body.length
    } else if (fieldsOf(answer, 'transfer-encoding').length === 0) {
      answer.body = Buffer.from(bytes.slice(at), 'latin1')
      at = bytes.length
    } else {
      at = readChunks(bytes, at, answer)
    }
  }
  return answers
}

/** Parses a chunked body (RFC 9112 §7.1). Returns the index of its end. */
function readChunks (bytes: string, from: number, answer: Answer): number {
  const parts: string[] = []
  for (let at = from; ;) {
    SIZE.lastIndex = at
    const size = SIZE.exec(bytes)?.[1]
    if (size === undefined) throw new Error(`no chunk at ${at}: ${JSON.stringify(bytes.slice(at, at + 100))}`)
    at += size.length + 2
    if (size === '0') {
      const end = bytes.indexOf('\r\n\r\n', at - 2)
      if (end === -1) throw new Error('no end after the last chunk')
      answer.body = Buffer.from(parts.join(''), 'latin1')
      answer.trailers = bytes.slice(at, end)
      return end + 4
    }
    parts.push(bytes.slice(at, at + parseInt(size, 16)))
    at += parseInt(size, 16)
    if (bytes.slice(at, at + 2) !== '\r\n') {
      throw new Error(`no line end after the chunk of ${size}: ${JSON.stringify(bytes.slice(at, at + 100))}`)
    }
    at += 2
  }
}

/** Returns the values of all fields of this name. */
export function fieldsOf ({ head }: Answer, name: string): string[] {
  return head.filter(line => line.toLowerCase().startsWith(`${name}:`)).map(line => line.slice(name.length + 1).trim())
}

/** Describes where two texts differ. Returns an empty text if they are equal. */
export function difference (got: string, wanted: string): string {
  if (got === wanted) return ''
  let at = 0
  while (got[at] === wanted[at]) at++
  return `${got.length} instead of ${wanted.length} characters, from ${at} on ${
    JSON.stringify(got.slice(at, at + 50))
  } instead of ${JSON.stringify(wanted.slice(at, at + 50))}`
}

export const soon = <T>(what: string, promise: Promise<T>): Promise<T> => within(what, promise)

/** The end after the last chunk. */
export const END = '\r\n0\r\n\r\n'

/** Waits until that many chunked bodies are complete. */
export async function ended (client: RawClient, streams: number, end = END): Promise<void> {
  let from = 0
  for (let n = 0; n < streams; n++) {
    from = (await soon('the end of a stream', client.until(end, from))).indexOf(end, from) + end.length
  }
}

/** Returns the responses, once that many chunked bodies are complete. */
export async function answersOf (client: RawClient, streams: number, end = END): Promise<Answer[]> {
  await ended(client, streams, end)
  return read(client.received)
}

/** Checks that each visit was answered in order, with exactly its bytes, and that its source has ended. */
export async function intact (t: Pick<Test, 'equal'>, answers: Answer[], visits: Visit[]): Promise<void> {
  const streams = answers.filter(answer => fieldsOf(answer, 'content-type')[0]?.startsWith('text/event-stream'))
  t.equal(streams.length, visits.length)
  for (const [index, visit] of visits.entries()) {
    const stream = streams[index]!
    t.equal(difference(String(stream.body), visit.body), '')
    t.equal(fieldsOf(stream, 'content-length').length, 0)
    t.equal(fieldsOf(stream, 'date').length, 1)
    await soon('the end of reply.sse()', visit.over)
    await soon('the last of the script', visit.published)
    t.equal(visit.finals, 1)
  }
}
