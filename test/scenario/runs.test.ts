import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import type { RawReceived } from '../../lib/client.ts'
import sse, { EventQueue, StreamClosedError, type Channel, type CloseReport } from '../../lib/index.ts'
import { injectStream, type InjectedStream, type RawInjectStreamOptions } from '../../lib/testing.ts'
import { within } from '../setup/within.ts'

type Test = Pick<typeof t, 'teardown'>
type Client = InjectedStream<RawReceived>
interface Token { event: 'token', data: string }

const events = { token: Type.String() }
const TOKENS = 5_000

/** A service that generates text, for each key once. The tokens come when the test says so. */
class Runs {
  started = 0
  /** One entry per generator that is over: why its signal was aborted, if it was. */
  readonly finals: unknown[] = []
  readonly tokens: EventQueue
  readonly reports: CloseReport[] = []
  readonly lines: string[] = []
  readonly consumed: Array<Promise<void>> = []
  failure: Error | undefined
  readonly #options = { events, start: 'oldest' as const, history: { events: TOKENS } }
  app!: FastifyInstance

  constructor () {
    this.tokens = new EventQueue()
  }

  channel (key = 'key'): Channel<typeof events> {
    return this.app.sse.channel(`run:${key}`, this.#options)
  }

  async * #generate (signal: AbortSignal): AsyncGenerator<Token> {
    this.started++
    try {
      for await (const { data } of this.tokens) yield { event: 'token', data: data as string }
      if (this.failure !== undefined) throw this.failure
    } finally {
      this.finals.push(signal.reason)
    }
  }

  async serve (t: Test): Promise<this> {
    const app = this.app = Fastify({ logger: { level: 'error', stream: { write: line => { this.lines.push(line) } } } })
    await app.register(sse, { onClose: report => { this.reports.push(report) } })
    app.post<{ Params: { key: string } }>('/runs/:key', { schema: { sse: events } }, (request, reply) => {
      const run = this.channel(request.params.key)
      this.consumed.push(run.consume(({ signal }) => this.#generate(signal)))
      return reply.sse(run)
    })
    app.get<{ Params: { key: string } }>('/runs/:key', { schema: { sse: events } }, (request, reply) => reply.sse(this.channel(request.params.key)))
    app.delete<{ Params: { key: string } }>('/runs/:key', async (request, reply) => {
      await this.channel(request.params.key).end()
      return await reply.code(204).send()
    })
    t.teardown(() => app.close())
    return this
  }

  /** Comes to a run that may have been started. */
  ask (options: Omit<RawInjectStreamOptions, 'url'> = {}, key = 'key'): Promise<Client> {
    return injectStream(this.app, { url: `/runs/${key}`, ...options })
  }

  start (key?: string): Promise<Client> {
    return this.ask({ method: 'POST', payload: {} }, key)
  }

  async say (...tokens: string[]): Promise<void> {
    for (const token of tokens) await within('its generator', this.tokens.push({ data: token }))
  }
}

const at = (epoch: string, offset: number): string => `id: ${epoch}-${offset}\n\n`
const token = (epoch: string, offset: number, text: string): string => `event: token\nid: ${epoch}-${offset}\ndata: ${text}\n\n`
const until = (client: Client, text: string): Promise<RawReceived[]> => client.until(({ data }) => data === text)

async function whole (client: Client): Promise<string> {
  await client.rest()
  return client.text
}

t.test('R7: a run outlives its client: the POST\'s stream, a second tab and a reload see the same tokens once, in order', async t => {
  const runs = await new Runs().serve(t)
  const first = await runs.start()
  await runs.say('one')
  await until(first, 'one')
  const { epoch } = await runs.channel().head()

  const tab = await runs.ask()
  await until(tab, 'one')
  await runs.say('two', 'three')
  await until(first, 'three')
  t.equal(first.lastEventId, `${epoch}-3`)
  await first.drop()
  t.match(runs.reports, [{ reason: 'client' }])

  // While nobody of it is there.
  await runs.say('four', 'five')
  await until(tab, 'five')
  t.same(runs.finals, [], 'the run goes on')
  const reload = await first.resume()
  await until(reload, 'five')
  await runs.say('six')
  runs.tokens.end()
  const texts = ['one', 'two', 'three', 'four', 'five', 'six']
  const all = texts.map((text, n) => token(epoch, n + 1, text))
  t.equal(await whole(tab), at(epoch, 0) + all.join(''), 'the second tab')
  t.equal(first.text, at(epoch, 0) + all.slice(0, 3).join(''), 'before the reload')
  t.equal(await whole(reload), at(epoch, 3) + all.slice(3).join(''), 'after the reload')
  t.equal(runs.started, 1)
  t.same(runs.finals, [undefined], 'it ran to its own end')
  await within('consume()', Promise.all(runs.consumed))

  const late = await runs.ask()
  t.equal(await whole(late), at(epoch, 0) + all.join(''), 'a late comer gets the history and the end')
  const over = await runs.ask({ lastEventId: `${epoch}-6` })
  t.equal(over.response.statusCode, 204, 'who has it all is told to stop')
})

t.test('R7: a run with nobody there goes on to its end', async t => {
  const runs = await new Runs().serve(t)
  const client = await runs.start()
  await client.drop()
  await runs.say('a', 'b', 'c')
  runs.tokens.end()
  await within('consume()', Promise.all(runs.consumed))
  const { epoch } = await runs.channel().head()
  t.equal(await whole(await runs.ask()), at(epoch, 0) + ['a', 'b', 'c'].map((text, n) => token(epoch, n + 1, text)).join(''))
})

t.test('R7: starting one key twice runs the producer once; another key is another run', async t => {
  const runs = await new Runs().serve(t)
  const clients = await Promise.all([runs.start(), runs.start(), runs.start()])
  await runs.say('only once')
  t.equal(runs.started, 1)
  await Promise.all(clients.map(client => until(client, 'only once')))
  runs.tokens.end()
  const bodies = new Set(await Promise.all(clients.map(whole)))
  t.equal(bodies.size, 1)
  await within('each consume()', Promise.all(runs.consumed))
  // When it is over, too.
  const again = await runs.start()
  t.ok(bodies.has(await whole(again)))
  t.equal(runs.started, 1)
  await whole(await runs.start('another'))
  t.equal(runs.started, 2)
})

t.test('R7: an explicit stop cancels the producer and ends every stream with what was generated', async t => {
  const runs = await new Runs().serve(t)
  const clients = [await runs.start(), await runs.ask()]
  await runs.say('one', 'two')
  await Promise.all(clients.map(client => until(client, 'two')))
  await runs.app.inject({ method: 'DELETE', url: '/runs/key' })
  const { epoch } = await runs.channel().head()
  for (const client of clients) t.equal(await whole(client), at(epoch, 0) + token(epoch, 1, 'one') + token(epoch, 2, 'two'))
  t.match(runs.reports, [{ reason: 'ended' }, { reason: 'ended' }])
  await within('consume()', Promise.all(runs.consumed))
  // The generator waits for a token: it learns of the stop with the next one, which nobody gets any more.
  await runs.say('too late')
  while (runs.finals.length === 0) await turn()
  t.type(runs.finals[0], StreamClosedError)
  t.match(runs.finals, [{ reason: 'ended' }])
  t.equal(await whole(await runs.ask()), at(epoch, 0) + token(epoch, 1, 'one') + token(epoch, 2, 'two'), 'it stays what it was')
  t.same(runs.lines, [])
})

t.test('R7: a stop reaches a producer that listens to its signal at once', async t => {
  const runs = await new Runs().serve(t)
  const run = runs.channel()
  let reason: unknown
  let finished!: () => void
  const finallyRan = new Promise<void>(resolve => { finished = resolve })
  const consumed = run.consume(({ signal }) => (async function * (): AsyncGenerator<Token> {
    try {
      yield { event: 'token', data: 'one' }
      await once(signal, 'abort')
      reason = signal.reason
      signal.throwIfAborted()
    } finally {
      finished()
    }
  })())
  const client = await runs.ask()
  await until(client, 'one')
  await run.end()
  await within('its finally', finallyRan)
  t.match(reason, { reason: 'ended' })
  await within('consume()', consumed)
  await whole(client)
  t.same(runs.lines, [], 'an AbortError after the stop is silence')
})

t.test('E2: a producer that fails ends the channel with a problem that says nothing of the error, for late comers too', async t => {
  const runs = await new Runs().serve(t)
  runs.failure = new Error('the secret of the producer')
  const client = await runs.start()
  await runs.say('one')
  await until(client, 'one')
  runs.tokens.end()
  const { epoch } = await runs.channel().head()
  const problem = `event: error\nid: ${epoch}-2\ndata: {"type":"about:blank","title":"Internal Server Error","status":500}\n\n`
  t.equal(await whole(client), at(epoch, 0) + token(epoch, 1, 'one') + problem)
  t.match(runs.reports, [{ reason: 'ended' }])
  t.equal(await whole(await runs.ask()), at(epoch, 0) + token(epoch, 1, 'one') + problem)
  const back = await runs.ask({ lastEventId: `${epoch}-1` })
  t.equal(await whole(back), at(epoch, 1) + problem, 'one who comes back learns of it')
  await t.rejects(runs.consumed[0]!, { message: 'the secret of the producer' })
  t.equal(runs.lines.length, 1, 'it is in the log once')
  t.match(runs.lines[0], 'the secret of the producer')
})

t.test('E2: a producer whose error is made for the client says why', async t => {
  const runs = await new Runs().serve(t)
  runs.failure = Object.assign(new Error('The prompt is too long'), { statusCode: 422 })
  const client = await runs.start()
  runs.tokens.end()
  await whole(client)
  const { epoch } = await runs.channel().head()
  t.equal(client.text, at(epoch, 0) + `event: error\nid: ${epoch}-1\ndata: {"type":"about:blank","title":"Unprocessable Entity","status":422,"detail":"The prompt is too long"}\n\n`)
})

t.test('C2: a token that does not fit is thrown into the producer at its yield, and reaches nobody', async t => {
  const runs = await new Runs().serve(t)
  const run = runs.channel()
  let code: unknown
  const client = await runs.ask()
  await within('consume()', run.consume((function * (): Generator<Token> {
    try {
      yield { event: 'token', data: 1 as unknown as string }
    } catch (error) {
      code = (error as { code?: unknown }).code
    }
    yield { event: 'token', data: 'goes on' }
  })()))
  t.equal(code, 'FST_SSE_DATA')
  const { epoch } = await run.head()
  t.equal(await whole(client), at(epoch, 0) + token(epoch, 1, 'goes on'))
})

t.test('R7: a client that reloads all the time has each of thousands of tokens once', async t => {
  const runs = await new Runs().serve(t)
  const run = runs.channel()
  const consumed = run.consume((async function * (): AsyncGenerator<Token> {
    for (let n = 1; n <= TOKENS; n++) {
      yield { event: 'token', data: String(n) }
      if (n % 10 === 0) await turn()
    }
  })())
  const { epoch } = await run.head()
  let seen = ''
  let reloads = 0
  let client = await runs.ask({ lastEventId: `${epoch}-0` })
  for (let count = 0; count < TOKENS; reloads++) {
    const came = await client.take(Math.min(1 + reloads % 40, TOKENS - count))
    for (const { id, data } of came) seen += `event: token\nid: ${id}\ndata: ${data}\n\n`
    count += came.length
    client = await client.resume()
  }
  await within('consume()', consumed)
  t.equal(seen, Array.from({ length: TOKENS }, (_, n) => token(epoch, n + 1, String(n + 1))).join(''))
  t.comment(`${reloads} reloads`)
})
