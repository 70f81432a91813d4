import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import sse, { EventQueue, type AnyEvent, type Channel, type Subscription } from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { open } from '../setup/raw.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

// W9: a chunk of a foreign stream is no event, wherever it comes from. The types refuse most of these chunks too.

/** What a library answers with: its contents are its own. */
class Answer {
  readonly #text = 'Hi'
  readonly id = 'chatcmpl-1'
  get text (): string { return this.#text }
}

const CHUNKS = [
  new Answer(),
  { id: 'chatcmpl-1', object: 'chat.completion.chunk', choices: [] },
  { type: 'text-delta', id: 'chatcmpl-1', delta: 'Hi' },
  { evnt: 'x', id: 'chatcmpl-1', dta: 2 },
  { event: 'thread.message.delta', id: 'chatcmpl-1', delta: {} },
  { choices: [] }
]
const HINT = 'send it as { data: … }, or make events of a whole source with asData(source)'

interface Refusal { readonly code?: unknown, readonly message?: unknown }
interface Place {
  name: string
  /** Brings the chunk there. Answers with the error that this call throws, or with undefined: the error is in the log. */
  bring: (app: FastifyInstance, chunk: AnyEvent, ask: (source: unknown, options?: object) => Promise<string>) => Promise<unknown>
}

const rejection = async (call: Promise<unknown>): Promise<unknown> => call.then(() => undefined, (error: unknown) => error)
async function * one (chunk: AnyEvent): AsyncGenerator<AnyEvent> { yield chunk }
const mapped = (channel: Channel, chunk: AnyEvent): Subscription<AnyEvent, unknown> => channel.subscribe({ map: () => chunk as { data: unknown } })

const places: Place[] = [
  { name: 'a generator', bring: async (_app, chunk, ask) => { await ask(one(chunk)) } },
  { name: 'a function source', bring: async (_app, chunk, ask) => { await ask(() => [chunk]) } },
  {
    name: 'an EventQueue',
    bring: async (_app, chunk, ask) => {
      const queue = new EventQueue({ capacity: 1 })
      await queue.push(chunk)
      await ask(queue)
    }
  },
  { name: 'publish', bring: async (app, chunk) => rejection(app.sse.channel('news').publish(chunk as { data: unknown })) },
  {
    name: 'publish of a typed channel',
    bring: async (app, chunk) => rejection(app.sse.channel('news', { events: { message: Type.Unknown(), x: Type.Unknown() } }).publish(chunk as never))
  },
  { name: 'consume', bring: async (app, chunk) => rejection(app.sse.channel('news').consume(one(chunk) as never)) },
  {
    name: 'the map of a stream',
    bring: async (app, chunk, ask) => {
      const channel = app.sse.channel('news')
      const answer = ask(mapped(channel, chunk))
      await until('its stream', () => channel.subscribers === 1)
      await channel.publish({ data: 1 })
      await answer
    }
  },
  {
    name: 'the map of a loop',
    bring: async (app, chunk) => {
      const channel = app.sse.channel('news')
      const reading = mapped(channel, chunk)[Symbol.asyncIterator]()
      const next = rejection(reading.next())
      await until('its loop', () => channel.subscribers === 1)
      await channel.publish({ data: 1 })
      return next
    }
  },
  { name: 'a snapshot', bring: async (app, chunk, ask) => { await ask(app.sse.channel('news').subscribe({ snapshot: () => chunk as { data: unknown } })) } },
  {
    name: 'a snapshot of several',
    bring: async (app, chunk, ask) => { await ask(app.sse.channel('news').subscribe({ snapshot: () => [chunk as { data: unknown }, { data: 1 }] })) }
  },
  {
    name: 'the errorEvent of a stream',
    bring: async (_app, chunk, ask) => {
      await ask(async function * () {
        yield { data: 1 }
        throw new Error('late')
      }, { errorEvent: () => chunk })
    }
  },
  {
    name: 'the errorEvent of a channel',
    bring: async (app, chunk) => {
      const failing = (async function * (): AsyncGenerator<AnyEvent> { throw new Error('failed') })()
      await rejection(app.sse.channel('news', { errorEvent: () => chunk as { data: unknown } }).consume(failing as never))
    }
  }
]

for (const { name, bring } of places) {
  t.test(`W9: a foreign chunk from ${name} is refused, and nothing of it goes out`, async t => {
    for (const chunk of CHUNKS) {
      const logged: Refusal[] = []
      const app = Fastify({ logger: { level: 'warn', stream: { write: line => { logged.push((JSON.parse(line) as { err: Refusal }).err) } } } })
      await app.register(sse)
      let source: unknown
      let options: object | undefined
      app.get('/', (_request, reply) => reply.sse(source as AsyncIterable<AnyEvent>, options))
      const port = await listen(t, app)
      let answer = ''
      const ask = async (given: unknown, own?: object): Promise<string> => {
        source = given
        options = own
        const client = await open(port, { headers: { connection: 'close' } })
        await within('the answer', client.closed)
        return (answer = client.received)
      }
      const thrown = await bring(app, chunk as unknown as AnyEvent, ask) as Refusal | undefined
      const refused = [...thrown === undefined ? [] : [thrown], ...logged].find(({ code }) => code === 'FST_SSE_EVENT')
      t.match(refused?.message, HINT, JSON.stringify(chunk))
      t.notMatch(answer, 'chatcmpl-1')
    }
  })
}
