import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Redis } from 'ioredis'
import t from 'tap'
import sse, { EventQueue, StreamClosedError, type Channel, type CloseReport } from '../../lib/index.ts'
import { redisLog } from '../../lib/redis.ts'
import { listen } from '../setup/listen.ts'
import { CAUGHT_UP, live, replay } from '../setup/marks.ts'
import { absent, REDIS } from '../setup/programs.ts'
import { open, type RawClient, type RawRequest } from '../setup/raw.ts'
import { RedisServer } from '../setup/redis.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

type Test = Pick<typeof t, 'teardown'>
interface Token { event: 'token', data: string }

const events = { token: Type.String() }
const END = '0\r\n\r\n'
const TOKENS = 5_000

/** A service that generates a text once for each key. The test controls the tokens. */
class Runs {
  started = 0
  /** One entry per finished generator: the reason of its signal, if it was aborted. */
  readonly finals: unknown[] = []
  readonly tokens: EventQueue
  readonly reports: CloseReport[] = []
  readonly lines: string[] = []
  readonly consumed: Array<Promise<void>> = []
  port = 0
  failure: Error | undefined
  readonly #options = { events, start: 'earliest' as const, history: { maxEvents: TOKENS } }
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
      this.consumed.push(run.publishFrom(({ signal }) => this.#generate(signal)))
      return reply.sse(run)
    })
    app.get<{ Params: { key: string } }>('/runs/:key', { schema: { sse: events } },
      (request, reply) => reply.sse(this.channel(request.params.key)))
    app.delete<{ Params: { key: string } }>('/runs/:key', async (request, reply) => {
      await this.channel(request.params.key).end()
      return await reply.code(204).send()
    })
    this.port = await listen(t, app)
    return this
  }

  async request (t: Test, request: RawRequest = {}): Promise<RawClient> {
    const client = await open(this.port, { path: '/runs/key', ...request })
    t.teardown(() => client.socket.destroy())
    return client
  }

  /** Resolves when the first streams are closed. */
  async reported (count: number): Promise<CloseReport[]> {
    while (this.reports.length < count) await turn()
    return this.reports
  }

  async say (...tokens: string[]): Promise<void> {
    for (const token of tokens) await within('its generator', this.tokens.push({ data: token }))
  }
}

const at = (epoch: string, offset: number): string => `event: sse.position\nid: ${epoch}-${offset}\ndata: \n\n`
const token = (epoch: string, offset: number, text: string): string =>
  `event: token\nid: ${epoch}-${offset}\ndata: ${text}\n\n`
const bodyOf = (client: RawClient): string => client.responses()[0]?.body ?? ''

async function whole (client: RawClient): Promise<string> {
  await within('the end', client.until(END))
  return bodyOf(client)
}

t.test('R7: a run outlives its client: the stream of the POST, a second tab and a reload receive the same tokens once, in order', async t => {
  const runs = await new Runs().serve(t)
  const first = await runs.request(t, { method: 'POST', body: '{}' })
  await runs.say('one')
  await within('a token', first.until('data: one\n\n'))
  const { epoch } = await runs.channel().position()

  const tab = await runs.request(t)
  await within('the tab has it too', tab.until('data: one\n\n'))
  await runs.say('two', 'three')
  await within('more', first.until('data: three\n\n'))
  const lastId = first.frames().at(-1)?.match(/^id: (.*)$/m)?.[1]
  t.equal(lastId, `${epoch}-3`)
  first.reset()
  await first.closed
  t.match(await within('the report', runs.reported(1)), [{ reason: 'client' }])

  // While no client is connected.
  await runs.say('four', 'five')
  await within('the tab continues', tab.until('data: five\n\n'))
  t.same(runs.finals, [], 'the run continues')
  const reload = await runs.request(t, { headers: { 'Last-Event-ID': lastId! } })
  await within('the missed events', reload.until('data: five\n\n'))
  await runs.say('six')
  runs.tokens.end()
  const texts = ['one', 'two', 'three', 'four', 'five', 'six']
  const all = texts.map((text, n) => token(epoch, n + 1, text))
  t.equal(await whole(tab), replay(at(epoch, 0)) + all[0] + CAUGHT_UP + all.slice(1).join(''), 'the second tab')
  t.equal(bodyOf(first), live(at(epoch, 0)) + all.slice(0, 3).join(''), 'before the reload')
  t.equal(await whole(reload), replay(at(epoch, 3)) + all.slice(3, 5).join('') + CAUGHT_UP + all[5], 'after the reload')
  t.equal(runs.started, 1)
  t.same(runs.finals, [undefined], 'it ran to its own end')
  await within('consume()', Promise.all(runs.consumed))

  const late = await runs.request(t)
  t.equal(await whole(late), replay(at(epoch, 0)) + all.join(''), 'a late comer gets the history and the end')
  const over = await runs.request(t, { headers: { 'Last-Event-ID': `${epoch}-6` } })
  await within('the answer', over.until('\r\n\r\n'))
  t.equal(over.responses()[0]?.status, 204, 'a client at the end gets 204')
})

t.test('R7: a run without a client continues to its end', async t => {
  const runs = await new Runs().serve(t)
  const client = await runs.request(t, { method: 'POST', body: '{}' })
  await within('the position', client.until('\n\n'))
  client.fin()
  await client.closed
  await runs.say('a', 'b', 'c')
  runs.tokens.end()
  await within('consume()', Promise.all(runs.consumed))
  const { epoch } = await runs.channel().position()
  t.equal(await whole(await runs.request(t)),
    replay(at(epoch, 0)) + ['a', 'b', 'c'].map((text, n) => token(epoch, n + 1, text)).join(''))
})

t.test('R7: starting a key twice runs the producer once; another key is another run', async t => {
  const runs = await new Runs().serve(t)
  const clients: RawClient[] = []
  for (let n = 0; n < 3; n++) clients.push(await runs.request(t, { method: 'POST', body: '{}' }))
  await within('their positions', Promise.all(clients.map(client => client.until('\n\n'))))
  t.equal(runs.started, 1)
  await runs.say('only once')
  await within('the token', Promise.all(clients.map(client => client.until('only once\n\n'))))
  runs.tokens.end()
  const bodies = new Set(await Promise.all(clients.map(whole)))
  t.equal(bodies.size, 1)
  const [body] = bodies
  await within('each consume()', Promise.all(runs.consumed))
  // After its end, too.
  const again = await runs.request(t, { method: 'POST', body: '{}' })
  t.equal(await whole(again), body!.replace(': live', ': replay'))
  t.equal(runs.started, 1)
  await whole(await runs.request(t, { method: 'POST', body: '{}', path: '/runs/another' }))
  t.equal(runs.started, 2)
})

t.test('R7: an explicit stop cancels the producer and ends every stream with the tokens so far', async t => {
  const runs = await new Runs().serve(t)
  const clients = [await runs.request(t, { method: 'POST', body: '{}' }), await runs.request(t)]
  await within('their positions', Promise.all(clients.map(client => client.until('\n\n'))))
  await runs.say('one', 'two')
  await within('the tokens', Promise.all(clients.map(client => client.until('data: two\n\n'))))
  const stop = await runs.request(t, { method: 'DELETE' })
  await within('the answer', stop.until('\r\n\r\n'))
  const { epoch } = await runs.channel().position()
  for (const client of clients) {
    t.equal(await whole(client), live(at(epoch, 0)) + token(epoch, 1, 'one') + token(epoch, 2, 'two'))
  }
  t.match(await within('the reports', runs.reported(2)), [{ reason: 'channel-ended' }, { reason: 'channel-ended' }])
  await within('consume()', Promise.all(runs.consumed))
  // The generator waits for a token: it is notified of the stop at the next one, which is not sent.
  await runs.say('too late')
  while (runs.finals.length === 0) await turn()
  t.type(runs.finals[0], StreamClosedError)
  t.match(runs.finals, [{ reason: 'channel-ended' }])
  t.equal(await whole(await runs.request(t)), replay(at(epoch, 0)) + token(epoch, 1, 'one') + token(epoch, 2, 'two'),
    'the run is unchanged')
  t.same(runs.lines, [])
})

t.test('R7: a stop reaches a producer that listens to its signal at once', async t => {
  const runs = await new Runs().serve(t)
  const run = runs.channel()
  let reason: unknown
  let finished!: () => void
  const finallyRan = new Promise<void>(resolve => { finished = resolve })
  const consumed = run.publishFrom(({ signal }) => (async function * (): AsyncGenerator<Token> {
    try {
      yield { event: 'token', data: 'one' }
      await once(signal, 'abort')
      reason = signal.reason
      signal.throwIfAborted()
    } finally {
      finished()
    }
  })())
  const client = await runs.request(t)
  await within('the token', client.until('data: one\n\n'))
  await run.end()
  await within('its finally', finallyRan)
  t.match(reason, { reason: 'channel-ended' })
  await within('consume()', consumed)
  await whole(client)
  t.same(runs.lines, [], 'an AbortError after the stop is silence')
})

t.test('E2: a producer that fails ends the channel with a problem that does not reveal the error, for later clients, too', async t => {
  const runs = await new Runs().serve(t)
  runs.failure = new Error('the secret of the producer')
  const client = await runs.request(t, { method: 'POST', body: '{}' })
  await runs.say('one')
  await within('the token', client.until('data: one\n\n'))
  runs.tokens.end()
  const { epoch } = await runs.channel().position()
  const problem =
    `event: error\nid: ${epoch}-2\ndata: {"type":"about:blank","title":"Internal Server Error","status":500}\n\n`
  t.equal(await whole(client), live(at(epoch, 0)) + token(epoch, 1, 'one') + problem)
  t.match(await within('the report', runs.reported(1)), [{ reason: 'channel-ended' }])
  t.equal(await whole(await runs.request(t)), replay(at(epoch, 0)) + token(epoch, 1, 'one') + problem)
  const back = await runs.request(t, { headers: { 'Last-Event-ID': `${epoch}-1` } })
  t.equal(await whole(back), replay(at(epoch, 1)) + problem, 'a reconnecting client receives it')
  await t.rejects(runs.consumed[0]!, { message: 'the secret of the producer' })
  t.equal(runs.lines.length, 1, 'it is in the log once')
  t.match(runs.lines[0], 'the secret of the producer')
})

t.test('E2: a producer error with a client status reveals its message', async t => {
  const runs = await new Runs().serve(t)
  runs.failure = Object.assign(new Error('The prompt is too long'), { statusCode: 422 })
  const client = await runs.request(t, { method: 'POST', body: '{}' })
  runs.tokens.end()
  await whole(client)
  const { epoch } = await runs.channel().position()
  t.equal(bodyOf(client),
    live(at(epoch, 0)) +
      `event: error\nid: ${epoch}-1\ndata: {"type":"about:blank","title":"Unprocessable Entity","status":422,"detail":"The prompt is too long"}\n\n`)
})

t.test('C2: an invalid token is thrown into the producer at its yield, and reaches no subscriber', async t => {
  const runs = await new Runs().serve(t)
  const run = runs.channel()
  let code: unknown
  const client = await runs.request(t)
  await within('the position', client.until('\n\n'))
  await within('consume()', run.publishFrom((function * (): Generator<Token> {
    try {
      yield { event: 'token', data: 1 as unknown as string }
    } catch (error) {
      code = (error as { code?: unknown }).code
    }
    yield { event: 'token', data: 'goes on' }
  })()))
  t.equal(code, 'FST_SSE_DATA')
  const { epoch } = await run.position()
  t.equal(await whole(client), live(at(epoch, 0)) + token(epoch, 1, 'goes on'))
})

t.test('R7: a client that reloads all the time receives each of thousands of tokens once', async t => {
  const runs = await new Runs().serve(t)
  const run = runs.channel()
  const consumed = run.publishFrom((async function * (): AsyncGenerator<Token> {
    for (let n = 1; n <= TOKENS; n++) {
      yield { event: 'token', data: String(n) }
      if (n % 10 === 0) await turn()
    }
  })())
  const { epoch } = await run.position()
  let seen = ''
  let reloads = 0
  for (let position = 0; position < TOKENS; reloads++) {
    const client = await runs.request(t, { headers: { 'Last-Event-ID': `${epoch}-${position}` } })
    await within('a token', client.until('event: token'))
    client.reset()
    await client.closed
    // It may have reached the current end, and received the live mark.
    const frames = client.frames().filter(frame => frame !== ': live')
    if (!/^: (live|replay)\n/.test(frames[0]!) || !frames[0]!.endsWith(`\nid: ${epoch}-${position}\ndata: `)) {
      t.fail('it begins elsewhere', { position, frame: frames[0] })
    }
    for (const frame of frames.slice(1)) seen += `${frame}\n\n`
    position = Number(/-(\d+)$/m.exec(frames.at(-1)!)?.[1])
  }
  await within('consume()', consumed)
  t.equal(seen, Array.from({ length: TOKENS }, (_, n) => token(epoch, n + 1, String(n + 1))).join(''))
  t.comment(`${reloads} reloads`)
})

/** Two nodes with one Redis: the same run on both, and the log lines of each. */
async function nodesOf (t: Test, redis: RedisServer) {
  const lines: string[] = []
  const nodes: FastifyInstance[] = []
  for (let n = 0; n < 2; n++) {
    const app = Fastify({ logger: { level: 'warn', stream: { write: line => { lines.push(line) } } } })
    await app.register(sse, { eventLog: redisLog(redis.client(t, { retryStrategy: () => 20 })) })
    t.teardown(() => app.close())
    await app.ready()
    nodes.push(app)
  }
  const options = { events, start: 'earliest' as const }
  const run = (node: number, key = 'key'): Channel<typeof events> => nodes[node]!.sse.channel(`run:${key}`, options)
  return { lines, run }
}

/** A producer that yields once and waits for its end. */
function waiting () {
  let started!: () => void
  let stopped!: (reason: unknown) => void
  const begun = new Promise<void>(resolve => { started = resolve })
  const over = new Promise(resolve => { stopped = resolve })
  const source = async function * ({ signal }: { signal: AbortSignal }): AsyncGenerator<Token> {
    try {
      yield { event: 'token', data: 'one' }
      started()
      await once(signal, 'abort')
      signal.throwIfAborted()
    } finally {
      stopped(signal.reason)
    }
  }
  return { source, begun, over }
}

t.test('on two nodes with Redis', { skip: absent(REDIS) }, async t => {
  const listeners = async (redis: Redis): Promise<number> => (await redis.pubsub('CHANNELS')).length

  t.test('R7: a stop on another node reaches a producer without subscribers, whose node then unsubscribes from the channel', async t => {
    const redis = await RedisServer.start(t)
    const { lines, run } = await nodesOf(t, redis)
    const { source, begun, over } = waiting()
    const consumed = run(0).publishFrom(source)
    await begun
    t.match(await run(1).position(), { ended: false })
    await until('the token', async () => (await run(1).position()).newest === 1)
    await run(1).end()
    t.match(await within('the stop', over), { name: 'AbortError', reason: 'channel-ended' })
    await within('consume()', consumed)
    t.match(await run(0).position(), { newest: 1, ended: true })
    const client = redis.client(t)
    await until('the silence', async () => await listeners(client) === 0)
    t.same(lines, [])
  })

  t.test('R8: a stop reaches the producer when its node has reconnected to Redis', async t => {
    const redis = await RedisServer.start(t, '--appendonly', 'yes', '--appendfsync', 'always')
    const { lines, run } = await nodesOf(t, redis)
    const cut = redis.client(t, { retryStrategy: () => 20 })
    const accidents: Array<[what: string, happens: () => Promise<unknown>]> = [
      ['its subscription is lost', () => cut.call('CLIENT', 'KILL', 'TYPE', 'pubsub')],
      ['all connections are lost', () => cut.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')],
      ['Redis crashes and restarts', async () => {
        await redis.kill()
        await redis.start()
      }],
      ['Redis loses all that it has', () => cut.flushall()]
    ]
    for (const [what, happens] of accidents) {
      const { source, begun, over } = waiting()
      const consumed = run(0, what).publishFrom(source)
      await begun
      await until('the token', async () => (await run(1, what).position()).newest === 1)
      await happens()
      await run(1, what).end()
      t.match(await within(what, over), { reason: 'channel-ended' }, what)
      await within('consume()', consumed)
    }
    t.same(lines, [])
  })

  t.test('R7: a source that ends while another node stops it is stopped or complete, never failed, and both nodes agree', async t => {
    const redis = await RedisServer.start(t)
    const { lines, run } = await nodesOf(t, redis)
    const keys = Array.from({ length: 300 }, (_, n) => String(n))
    const signals: AbortSignal[] = []
    await Promise.all(keys.map(async (key, n) => {
      const consumed = run(0, key).publishFrom(async function * ({ signal }): AsyncGenerator<Token> {
        signals.push(signal)
        for (let n = 0; n < 20; n++) {
          yield { event: 'token', data: String(n) }
          if (n % 5 === 0) await turn()
        }
      })
      for (let turns = n % 30; turns > 0; turns--) await turn()
      await run(1, key).end()
      await within('consume()', consumed)
      const [here, there] = await Promise.all([run(0, key).position(), run(1, key).position()])
      t.strictSame(here, there)
      t.equal(here.ended, true)
    }))
    t.comment(`${signals.filter(({ aborted }) => aborted).length} of ${signals.length} were stopped`)
    const client = redis.client(t)
    await until('the silence', async () => await listeners(client) === 0)
    t.same(lines, [])
  })
})
