import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import t, { type Test } from 'tap'
import { generate, type Generate } from '../../example/tokens/model.ts'
import tokens from '../../example/tokens/server.ts'

async function start (t: Test, generate?: Generate, logged: string[] = []): Promise<string> {
  const stream = { write: (line: string) => { logged.push(line) } }
  // fetch opens a spare connection after an abort; close() would wait for it.
  const app = Fastify({ forceCloseConnections: true, logger: { level: 'warn', stream } })
  t.teardown(() => app.close())
  await app.register(sse)
  await app.register(tokens, generate === undefined ? {} : { generate })
  return `${await app.listen({ host: '127.0.0.1', port: 0 })}/v1/chat/completions`
}

function post (url: string, body: object, signal: AbortSignal | null = null): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
    signal
  })
}

/** A model that yields exactly these tokens. */
const saying = (...words: string[]): Generate => async function * (_prompt, { limit }) { yield * words.slice(0, limit) }

const HELLO = {
  model: 'm',
  messages: [{ role: 'system', content: 'Be short' }, { role: 'user', content: 'Say hello twice' }]
}

t.test('a stream consists of chunks in the official format, then [DONE] as plain text', async t => {
  const url = await start(t, saying('Hello', ' "two"\n', 'lines'))
  const before = Math.floor(Date.now() / 1000)
  const response = await post(url, { ...HELLO, stream: true })
  t.equal(response.status, 200)
  t.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8')
  const wire = await response.text()
  const { id, created } = JSON.parse(wire.slice('data: '.length, wire.indexOf('\n'))) as { id: string, created: number }
  t.match(id, /^chatcmpl-[0-9a-f-]{36}$/)
  t.ok(created >= before && created <= Date.now() / 1000, 'created is now, in seconds')
  const chunk = (delta: string, finish: string) =>
    `data: {"id":"${id}","object":"chat.completion.chunk","created":${created},"model":"m",` +
    `"choices":[{"index":0,"delta":${delta},"logprobs":null,"finish_reason":${finish}}]}\n\n`
  t.equal(wire, [
    chunk('{"role":"assistant","content":""}', 'null'),
    chunk('{"content":"Hello"}', 'null'),
    chunk('{"content":" \\"two\\"\\n"}', 'null'),
    chunk('{"content":"lines"}', 'null'),
    chunk('{}', '"stop"'),
    'data: [DONE]\n\n'
  ].join(''))
})

t.test('without stream: true the answer is one JSON object in the official format', async t => {
  const url = await start(t, saying('Hello', ', hello'))
  for (const body of [HELLO, { ...HELLO, stream: false, temperature: 0.5 }]) {
    const response = await post(url, body)
    t.equal(response.status, 200)
    t.equal(response.headers.get('content-type'), 'application/json; charset=utf-8')
    const { id, created, ...rest } = await response.json() as { id: string, created: number }
    t.match(id, /^chatcmpl-[0-9a-f-]{36}$/)
    t.equal(Number.isInteger(created), true)
    t.strictSame(rest, {
      object: 'chat.completion',
      model: 'm',
      choices: [{
        index: 0,
        message: { role: 'assistant', content: 'Hello, hello', refusal: null },
        logprobs: null,
        finish_reason: 'stop'
      }],
      usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
    })
  }
})

t.test('finish_reason is length if the limit was reached, in both forms', async t => {
  const url = await start(t, saying('one', ' two', ' three'))
  const json = await (await post(url, { ...HELLO, max_completion_tokens: 2 })).json() as {
    choices: Array<{ message: { content: string }, finish_reason: string }>
  }
  t.match(json.choices, [{ message: { content: 'one two' }, finish_reason: 'length' }])
  const wire = await (await post(url, { ...HELLO, max_completion_tokens: 2, stream: true })).text()
  t.match(wire, /"delta":\{\},"logprobs":null,"finish_reason":"length"\}\]\}\n\ndata: \[DONE\]\n\n$/)
})

t.test('an invalid body is rejected before the model is called', async t => {
  const url = await start(t, () => {
    throw new Error('asked')
  })
  const bodies = [{}, { model: 'm' }, { model: 'm', messages: [] }, {
    model: 'm',
    messages: [{ role: 'king', content: 'x' }]
  }, { ...HELLO, stream: 'perhaps' }, {
    ...HELLO,
    max_completion_tokens: 0
  }]
  for (const body of bodies) t.equal((await post(url, body)).status, 400, JSON.stringify(body))
})

for (const stream of [true, false]) {
  t.test(`when the client disconnects, the generator of ${stream ? 'a stream' : 'a JSON answer'} stops, without an error`, async t => {
    const reached = new AbortController()
    const left = new AbortController()
    const logged: string[] = []
    let over: (aborted: boolean) => void
    const stopped = new Promise<boolean>(resolve => { over = resolve })
    await t.test('the generator sees the signal', async t => {
      const url = await start(t, async function * (_prompt, { signal }) {
        try {
          yield 'first'
          reached.abort()
          await once(signal, 'never', { signal })
        } finally {
          over(signal.aborted)
        }
      }, logged)
      const leaving = post(url, { ...HELLO, stream }, left.signal).then(response => response.text())
      await once(reached.signal, 'abort')
      left.abort()
      await t.rejects(leaving, { name: 'AbortError' })
      t.equal(await stopped, true)
    })
    // The server is closed.
    t.strictSame(logged, [])
  })
}

t.test('the signal of a POST does not abort while the client stays connected', async t => {
  // Longer than the body takes to read, after which Fastify's own signal aborts.
  const url = await start(t, async function * (_prompt, { signal }) {
    await sleep(100)
    yield String(signal.aborted)
  })
  const { choices } = await (await post(url, HELLO)).json() as { choices: Array<{ message: { content: string } }> }
  t.equal(choices[0]?.message.content, 'false')
  t.match(await (await post(url, { ...HELLO, stream: true })).text(), /"content":"false"/)
})

t.test('the model stand-in gives the same answer to the same prompt, in sentences, and obeys its limit', async t => {
  const { signal } = new AbortController()
  const answer = async (prompt: string, limit = 200): Promise<string[]> => {
    const words: string[] = []
    for await (const word of generate(prompt, { limit, signal })) words.push(word)
    return words
  }
  const [one, same, other, short] = await Promise.all([answer('What?'), answer('What?'), answer('And why?'),
    answer('What?', 5)])
  t.strictSame(one, same)
  t.notSame(one, other)
  t.strictSame(short, one.slice(0, 5))
  t.match(one.join(''), /^([A-Z][a-z ,]+[a-z]\. ?){4}$/)
})
