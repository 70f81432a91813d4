import { setTimeout as delay } from 'node:timers/promises'
import { DefaultChatTransport, readUIMessageStream, type UIMessage, type UIMessageChunk } from 'ai'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import sse, { EventQueue, memoryLog, type EventLogFactory } from '../../lib/index.ts'
import { chat, type Chat, type ChatContext, type ChatOptions } from '../../lib/protocols/ai-sdk.ts'
import { redisLog } from '../../lib/redis.ts'
import { listen } from '../setup/listen.ts'
import { absent, REDIS } from '../setup/programs.ts'
import { RedisServer } from '../setup/redis.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

/** A model, whose tokens the test says. */
class Model {
  readonly asked: Array<ChatContext<UIMessage>> = []
  readonly stopped: unknown[] = []
  readonly #tokens: EventQueue[] = []

  readonly produce = async function * (this: Model, context: ChatContext<UIMessage>): AsyncGenerator<string> {
    this.asked.push(context)
    const tokens = this.#queueOf(this.asked.length)
    context.signal.addEventListener('abort', () => tokens.end())
    try {
      for await (const { data } of tokens) yield data as string
    } finally {
      this.stopped.push(context.signal.reason)
    }
  }.bind(this)

  /** Says words of the answer with this number. */
  say (number: number, ...words: string[]): void {
    for (const data of words) this.#queueOf(number).push({ data })
  }

  end (number: number, error?: Error): void { this.#queueOf(number).end(error) }

  #queueOf (number: number): EventQueue {
    this.#tokens[number] ??= new EventQueue({ capacity: 100 })
    return this.#tokens[number]
  }
}

interface Node {
  app: FastifyInstance
  chat: Chat
  url: string
  transport: DefaultChatTransport<UIMessage>
  logs: string[]
}

/** A node with chats, and the transport of `useChat` for it. */
async function node (t: Test, options: Partial<ChatOptions<UIMessage>> = {}, redis?: RedisServer): Promise<Node> {
  const eventLog = redis === undefined ? memoryLog() : redisLog(redis.client(t))
  return await nodeOf(t, options, eventLog)
}

async function nodeOf (t: Test, options: Partial<ChatOptions<UIMessage>>, eventLog: EventLogFactory): Promise<Node> {
  const logs: string[] = []
  const app = Fastify({ forceCloseConnections: true, logger: { stream: { write: line => { logs.push(line) } } } })
  await app.register(sse, { eventLog, shutdownTimeout: 400 })
  const chats = chat<UIMessage>(app, { authorize: () => true, produce: async function * () {}, ...options })
  const url = `http://127.0.0.1:${await listen(t, app)}/api/chat`
  return { app, chat: chats, url, logs, transport: new DefaultChatTransport({ api: url }) }
}

const user = (text: string, id = 'question-1'): UIMessage => ({ id, role: 'user', parts: [{ type: 'text', text }] })

interface Sending { trigger?: 'submit-message' | 'regenerate-message', messageId?: string, signal?: AbortSignal }

/** Sends a message as `useChat` does. Resolves when the stream has opened. */
const send = (
  { transport }: Node,
  messages: UIMessage[],
  { trigger = 'submit-message', messageId, signal }: Sending = {}
) =>
  transport.sendMessages({ chatId: 'chat-1', messages, trigger, messageId, abortSignal: signal })

const resume = ({ transport }: Node) => transport.reconnectToStream({ chatId: 'chat-1' })

/** Reads this URL as `useChat` does. */
const fetchStream = (api: string) =>
  new DefaultChatTransport({ prepareReconnectToStreamRequest: () => ({ api }) }).reconnectToStream({ chatId: 'chat-1' })

/** Reads a stream as `useChat` does. Returns the last state of the message. */
async function read (stream: ReadableStream<UIMessageChunk> | null): Promise<{ id: string, text: string }> {
  let message: UIMessage | undefined
  const errors: unknown[] = []
  const onError = (error: unknown): void => { errors.push(error) }
  for await (const state of readUIMessageStream({ stream: stream!, onError })) message = state
  if (errors.length > 0) throw errors[0]
  return {
    id: message?.id ?? '',
    text: message?.parts.map(part => part.type === 'text' ? part.text : `(${part.type})`).join('') ?? ''
  }
}

/** Reads chunks until one has this delta. */
async function readTo (stream: ReadableStream<UIMessageChunk>, word: string): Promise<void> {
  const reader = stream.getReader()
  for (;;) {
    const { value, done } = await reader.read()
    if (done) throw new Error(`ended before ${word}`)
    if (value.type === 'text-delta' && value.delta === word) return
  }
}

t.test('a message is answered, and the answer has one id', async t => {
  const model = new Model()
  const a = await node(t, { produce: model.produce })
  const stream = await send(a, [user('Hello')])
  model.say(1, 'Hel', 'lo')
  model.end(1)
  const answer = await within('the answer', read(stream))
  t.equal(answer.text, 'Hello')
  t.match(model.asked, [{ key: 'chat-1', messages: [user('Hello')], messageId: answer.id, body: { trigger: 'submit-message' } }])
  const { headers } = await fetch(a.url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id: 'chat-1', messages: [user('Hello')], trigger: 'submit-message' })
  })
  t.equal(headers.get('x-vercel-ai-ui-message-stream'), 'v1')
  t.equal(model.asked.length, 1, 'a repeated POST joins the answer')
  t.equal(await resume(a), null, '204: the answer is over')
  for (const id of ['question-1', answer.id]) {
    t.strictSame(await read((await fetchStream(`${a.url}/chat-1/stream?message=${id}`))), answer)
  }
  for (const path of ['chat-1/stream?message=other', 'chat-2/stream?message=question-1', 'chat-2/stream']) {
    t.equal((await fetch(`${a.url}/${path}`)).status, 204, path)
  }
})

t.test('an answer continues without its client; any node resumes it from the beginning, and stops it', { skip: absent(REDIS) }, async t => {
  const redis = await RedisServer.start(t)
  const model = new Model()
  const nodes = [await node(t, { produce: model.produce }, redis), await node(t, { produce: model.produce }, redis),
    await node(t, { produce: model.produce }, redis)] as const
  const leaving = new AbortController()
  const stream = await send(nodes[0], [user('Hello')], { signal: leaving.signal })
  model.say(1, 'one', ' two')
  await readTo(stream, ' two')
  leaving.abort()
  model.say(1, ' three')
  const resumed = (await resume(nodes[1]))!
  const [copy, other] = resumed.tee()
  await readTo(copy, ' three')
  t.equal(await nodes[2].chat.stop('chat-1'), true)
  t.match(await within('the answer', read(other)), { text: 'one two three' })
  t.equal(await resume(nodes[0]), null, '204')
  t.equal(await nodes[2].chat.stop('chat-1'), false)
  t.equal(model.asked.length, 1)
  while (model.stopped.length === 0) await delay(5)
  t.match(model.stopped, [{ name: 'AbortError' }])
})

t.test('a stopped answer ends with `abort` and [DONE]; DELETE stops it, and may come too early or too late', async t => {
  const model = new Model()
  const a = await node(t, { produce: model.produce })
  const remove = async (): Promise<number> => (await fetch(`${a.url}/chat-1`, { method: 'DELETE' })).status
  t.equal(await remove(), 204)
  const response = await fetch(a.url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id: 'chat-1', message: user('Hello') })
  })
  model.say(1, 'one')
  while (!(await a.chat.get('chat-1'))) await delay(5)
  const reading = response.text()
  t.equal(await remove(), 204)
  const wire = (await within('the end', reading)).replace(/^(id|:).*\n+/gm, '')
  t.match(wire, /^data: \{"type":"start","messageId":"[\w-]{43}"\}\n\n/)
  t.match(wire, /\n\ndata: \{"type":"abort"\}\n\ndata: \[DONE\]\n\n$/)
  t.equal(await remove(), 204)
})

t.test('two POSTs at once on two nodes start one model; so do two regenerations', { skip: absent(REDIS) }, async t => {
  const redis = await RedisServer.start(t)
  const model = new Model()
  const options = { produce: model.produce }
  const nodes = [await node(t, options, redis), await node(t, options, redis)] as const
  for (const trigger of ['submit-message', 'regenerate-message'] as const) {
    const asked = model.asked.length
    const streams = await Promise.all([...nodes, ...nodes].map(a => send(a, [user('Hello')], { trigger })))
    model.say(asked + 1, 'one')
    model.end(asked + 1)
    const answers = await within('the answers', Promise.all(streams.map(read)))
    t.strictSame(answers.map(({ text }) => text), ['one', 'one', 'one', 'one'])
    t.equal(new Set(answers.map(({ id }) => id)).size, 1)
    t.equal(model.asked.length, asked + 1, trigger)
  }
})

t.test('a regeneration, a message that changed and a retry after a failure start another answer', async t => {
  const model = new Model()
  const a = await node(t, { produce: model.produce })
  const answerTo = async (messages: UIMessage[], sending?: Sending): Promise<string> =>
    (await within('the answer', read(await send(a, messages, sending)))).text
  for (const number of [1, 2, 3, 4, 5, 6]) {
    model.say(number, `answer ${number}`)
    model.end(number, number === 5 ? new Error('password of the database') : undefined)
  }
  t.equal(await answerTo([user('Hello')]), 'answer 1')
  t.equal(await answerTo([user('Hello')]), 'answer 1')
  const regenerate = { trigger: 'regenerate-message' } as const
  t.equal(await answerTo([user('Hello')], regenerate), 'answer 2')
  t.equal(await answerTo([user('Hello')], regenerate), 'answer 3')
  t.equal(await answerTo([user('Hello, edited')], { messageId: 'question-1' }), 'answer 4')
  await t.rejects(answerTo([user('Again', 'question-2')]), { message: 'Internal Server Error' })
  t.equal(await answerTo([user('Again', 'question-2')]), 'answer 6')
  const called: UIMessage = { id: 'answer', role: 'assistant', parts: [{ type: 'text', text: 'tool' }] }
  model.end(7)
  const stream = await send(a, [user('Again', 'question-2'), called])
  t.equal((await within('the answer', read(stream))).id, 'answer', 'a message of the assistant continues')
})

t.test('another message stops the answer that runs', async t => {
  const model = new Model()
  const a = await node(t, { produce: model.produce })
  const first = await send(a, [user('Hello')])
  model.say(1, 'one')
  const second = await send(a, [user('Bye', 'question-2')])
  model.say(2, 'two')
  model.end(2)
  t.equal((await within('the first', read(first))).text, 'one')
  t.equal((await within('the second', read(second))).text, 'two')
  t.match(model.stopped, [{ name: 'AbortError' }, undefined])
})

t.test('different messages at once, on two nodes, leave one answer', { skip: absent(REDIS) }, async t => {
  const redis = await RedisServer.start(t)
  const running = new Set<string>()
  const produce: ChatOptions<UIMessage>['produce'] = async function * ({ messages, signal }) {
    const { id } = messages.at(-1)!
    running.add(id)
    yield id
    await new Promise(resolve => signal.addEventListener('abort', resolve))
    running.delete(id)
  }
  const nodes = [await node(t, { produce }, redis), await node(t, { produce }, redis)]
  for (let round = 1; round <= 5; round++) {
    const ids = [1, 2, 3, 4].map(number => `question-${round}-${number}`)
    const streams = await Promise.all(ids.map((id, index) => send(nodes[index % 2]!, [user('Hello', id)])))
    await until('one answer', () => running.size === 1)
    t.equal((await nodes[0]!.chat.get('chat-1'))?.state, 'running')
    t.equal(await nodes[1]!.chat.stop('chat-1'), true, 'the last answer is the one that runs')
    await until('no answer', () => running.size === 0)
    for (const stream of streams) await within('the end', read(stream))
  }
})

t.test('the id of a chat that a client invents leaves no trace', async t => {
  const a = await node(t)
  t.equal((await fetch(`${a.url}/invented/stream`)).status, 204)
  t.equal((await fetch(`${a.url}/invented`, { method: 'DELETE' })).status, 204)
  t.equal(await a.chat.get('invented'), undefined)
  t.strictSame(a.app.sse.channels(), [])
})

t.test('authorize decides before any access to the event log', async t => {
  const memory = memoryLog()
  let opened = 0
  const log: EventLogFactory = Object.assign((...args: Parameters<EventLogFactory>) => {
    opened++
    return memory(...args)
  }, { locate: memory.locate?.bind(memory) }) as EventLogFactory
  const keys: string[] = []
  const a = await nodeOf(t, {
    key: request => `${String(request.headers['x-user'])}/${(request.params as { id?: string }).id ?? (request.body as { id: string }).id}`,
    authorize: async (request, key) => {
      keys.push(key)
      if (request.headers['x-user'] === undefined) throw Object.assign(new Error('Log in first'), { statusCode: 401 })
      return key.startsWith('me/')
    }
  }, log)
  const before = opened
  const body = JSON.stringify({ id: 'chat-1', messages: [user('Hello')] })
  const requests = [['POST', '', body], ['GET', '/chat-1/stream', undefined], ['DELETE', '/chat-1', undefined]] as const
  for (const [method, path, body] of requests) {
    const ask = async (headers: Record<string, string>): Promise<unknown[]> => {
      const response = await fetch(a.url + path, {
        method,
        body: body ?? null,
        headers: { ...headers, ...body === undefined ? {} : { 'content-type': 'application/json' } }
      })
      return [response.status, await response.text()]
    }
    t.strictSame(await ask({ 'x-user': 'other' }), [403, 'Access denied: the chat belongs to another user'])
    t.strictSame(await ask({}), [401, 'Log in first'])
  }
  t.equal(opened, before)
  t.strictSame(keys, Array.from({ length: 3 }, () => ['other/chat-1', 'undefined/chat-1']).flat())
})

t.test('a POST that loses the event log is repeated: it joins the answer, or starts another one if that failed', async t => {
  for (const outcome of ['running', 'failed'] as const) {
    const memory = memoryLog()
    let isLost = true
    const log: EventLogFactory = Object.assign((...args: Parameters<EventLogFactory>) => {
      const opened = memory(...args)
      const { append } = opened
      if (args[0].startsWith('chat-current:')) {
        opened.append = (...args) => isLost ? Promise.reject(new Error('lost')) : append.apply(opened, args)
      }
      return opened
    }, { locate: memory.locate?.bind(memory) })
    const model = new Model()
    const a = await nodeOf(t, { produce: model.produce, history: { maxAge: 7_200_000 } }, log)
    await t.rejects(send(a, [user('Hello')]), { message: 'Internal Server Error' })
    isLost = false
    if (outcome === 'failed') {
      model.end(1, new Error('mine'))
      while (model.stopped.length === 0) await delay(5)
    }
    const number = outcome === 'failed' ? 2 : 1
    model.say(number, 'one')
    model.end(number)
    t.equal((await within('the answer', read(await send(a, [user('Hello')])))).text, 'one', outcome)
    t.equal(model.asked.length, number)
  }
})

t.test('two users with the same id have two chats', async t => {
  const model = new Model()
  const a = await node(t, { produce: model.produce, key: request => `${String(request.headers['x-user'])}:${(request.body as { id: string }).id}` })
  const streams = await Promise.all(['a', 'b'].map(user1 => new DefaultChatTransport<UIMessage>({
    api: a.url,
    headers: { 'x-user': user1 }
  }).sendMessages({ chatId: 'chat-1', messages: [user('Hello')], trigger: 'submit-message', messageId: undefined, abortSignal: undefined })))
  t.equal(streams.length, 2)
  t.strictSame(model.asked.map(({ key }) => key).sort(), ['a:chat-1', 'b:chat-1'])
})

t.test('bad bodies are rejected', async t => {
  const a = await node(t)
  for (const body of [{}, [], null, 'text', { id: 1, messages: [user('x')] }, { id: '', messages: [user('x')] }, { id: 'x' },
    { id: 'x', messages: [] }, { id: 'x', messages: 'x' }, { id: 'x', messages: [null] }, { id: 'x', messages: [{}] }, { id: 'x', message: {} }]) {
    const response = await fetch(a.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body)
    })
    t.equal(response.status, 400, JSON.stringify(body))
    t.match(await response.text(), /^body must have /)
  }
})

t.test('a body that is nested too deeply is rejected, and starts no answer', async t => {
  const model = new Model()
  const a = await node(t, { produce: model.produce })
  // Each version of Node has its own limit in JSON: 1,000 are below, 100,000 above that of most.
  for (const depth of [1_000, 100_000]) {
    const parts = '['.repeat(depth) + ']'.repeat(depth)
    const response = await fetch(a.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: `{"id":"chat-1","messages":[{"id":"1","role":"user","parts":${parts}}]}`
    })
    t.strictSame([response.status, await response.text()], [400, 'body is nested too deeply'])
  }
  t.strictSame(model.asked, [])
})

t.test('bad options are rejected at start-up', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  const good = { authorize: () => true, produce: () => [] }
  for (const options of [{}, { ...good, authorize: undefined }, { ...good, produce: 'x' }, { ...good, url: '' },
    { ...good, name: 'a:b' }, { ...good, history: { maxEvents: -1 } }, { ...good, other: 1 }, null]) {
    t.throws(() => chat(app, options as never), { code: 'FST_SSE_OPTION' })
  }
  chat(app, good)
  t.throws(() => chat(app, { ...good, url: '/other' }), { code: 'FST_SSE_CHANNEL_OPTIONS' })
  chat(app, { ...good, url: '/third', name: 'third' })
})

t.test('a key that is no text is an error', async t => {
  const a = await node(t, { key: () => undefined as unknown as string })
  const response = await fetch(`${a.url}/chat-1`, { method: 'DELETE' })
  t.strictSame([response.status, await response.text()], [500, 'Internal Server Error'])
  t.match(a.logs.join(''), 'FST_SSE_OPTION')
})

t.test('the error of produce reaches the client, and a client with a position reads the rest', async t => {
  const a = await node(t, {
    produce: async function * () {
      yield 'one'
      throw Object.assign(new Error('Too many questions'), { statusCode: 429 })
    }
  })
  const response = await fetch(a.url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id: 'chat-1', messages: [user('Hello')] })
  })
  const wire = await response.text()
  t.match(wire, /data: \{"type":"error","errorText":"Too many questions"\}\n\ndata: \[DONE\]\n\n$/)
  const ids = [...wire.matchAll(/^id: (.*)$/gm)].map(([, id]) => id!)
  const rest = await (await fetch(`${a.url}/chat-1/stream`, { headers: { 'last-event-id': ids.at(-2)! } })).text()
  t.match(rest, /^: replay\n\nid: .*\ndata: \{"type":"error"/)
  t.equal((await fetch(`${a.url}/chat-1/stream`, { headers: { 'last-event-id': ids.at(-1)! } })).status, 204)
})

t.test('a node that closes breaks its answers; a POST then starts another one', { skip: absent(REDIS) }, async t => {
  const redis = await RedisServer.start(t)
  const model = new Model()
  const [a, b] = [await node(t, { produce: model.produce }, redis), await node(t, { produce: model.produce }, redis)]
  await send(a, [user('Hello')])
  model.say(1, 'one')
  const resumed = (await resume(b))!
  await a.app.close()
  await t.rejects(within('the error', read(resumed)), { message: 'Service Unavailable' })
  t.equal(await resume(b), null)
  const again = await send(b, [user('Hello')])
  model.say(2, 'two')
  model.end(2)
  t.equal((await within('the answer', read(again))).text, 'two')
})
