import { EventEmitter, getEventListeners, once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { mock } from 'node:test'
import t, { type Test } from 'tap'
import { Connection, type ConnectionOptions } from '../../lib/client/connection.ts'
import type { Message, StreamState } from '../../lib/client/stream-reader.ts'
import { StreamError } from '../../lib/client/stream-error.ts'
import { settledMemory, timersAndSockets } from '../setup/leftovers.ts'
import { oddCancels } from '../setup/oddities.ts'
import { answers, cuts, ends, Scripted, streams, type Answer } from '../setup/scripted.ts'
import { within } from '../setup/within.ts'

type Owner = Parameters<typeof Scripted.start>[0]
type Told = Array<[code: string, attempt: number, delay: number | undefined]>

const TICK = { retryDelay: 1 }

/** Reads all items until the end. */
async function drain (
  connection: AsyncIterable<Array<Message | StreamState>>
): Promise<Array<Array<Message | StreamState>>> {
  const came = []
  for await (const items of connection) came.push(items)
  return came
}

/** Returns the data and states of a connection to a script, until it ends or `enough` returns true, and its error. */
async function follow (
  t: Owner,
  script: Answer[],
  options: ConnectionOptions = {},
  enough: (item: string) => boolean = () => false
) {
  const server = await Scripted.start(t, ...script)
  const controller = new AbortController()
  const came: string[] = []
  const told: Told = []
  const { onError, ...rest } = options
  const connection = new Connection(server.url, {
    ...TICK,
    ...rest,
    onError: (error, next) => {
      told.push([error.code, next.attempt, next.delay === undefined ? undefined : Math.floor(next.delay / 1_000)])
      return onError?.(error, next)
    }
  }, message => message, controller.signal)
  const read = async (): Promise<StreamError | undefined> => {
    try {
      for await (const items of connection) {
        for (const item of items) {
          came.push(typeof item === 'string' ? item : item.data)
          if (enough(came.at(-1)!)) return
        }
      }
    } catch (error) {
      return error as StreamError
    }
  }
  const error = await within('the end', read())
  return { server, came, told, error, connection }
}

const event = (id: string, data = id): string => `id: ${id}\ndata: ${data}\n\n`

t.test('the next connection resumes after the last event', async t => {
  const { came, server, error, told } = await follow(t, [ends(event('1') + event('2')), cuts(event('3')), answers(204)],
    { lastEventId: '0' })
  t.equal(error, undefined)
  t.strictSame(came, ['connecting', 'live', '1', '2', 'connecting', 'live', '3', 'connecting'])
  t.strictSame(server.asked.map(({ headers }) => headers['last-event-id']), ['0', '2', '3'])
  t.strictSame(told, [['FST_SSE_NETWORK', 2, 0]], 'a clean end is no failure, a cut is one')
})

t.test('a truncated event is dropped, and received with the next connection', async t => {
  const { came, server } = await follow(t, [cuts(`${event('1')}id: 2\ndata: half`), answers(204)])
  t.strictSame(came, ['connecting', 'live', '1', 'connecting'])
  t.equal(server.asked[1]!.headers['last-event-id'], '1')
})

t.test('a UTF-8 id is sent back unchanged', async t => {
  const { server } = await follow(t, [ends(event('größe-漢字')), answers(204)])
  t.equal(Buffer.from(server.asked[1]!.headers['last-event-id'] as string, 'latin1').toString('utf8'), 'größe-漢字')
})

t.test('an empty id resets the position: the next request sends none', async t => {
  const { server } = await follow(t, [ends(`${event('1')}id\n\n`), answers(204)])
  t.notOk('last-event-id' in server.asked[1]!.headers)
})

t.test('after the end of a finite stream no request follows', async t => {
  const { server, came } = await follow(t, [ends(`${event('1')}id: sse.end\n\n`)])
  t.strictSame(came, ['connecting', 'live', '1'])
  t.equal(server.asked.length, 1)
})

t.test('a POST is not repeated after the end of its response, a cut, or a failed connection', async t => {
  const post = { method: 'post', body: 'work' }
  t.equal((await follow(t, [ends(event('1'))], post)).error, undefined)
  for (const answer of [cuts(event('1')), answers(503)]) {
    const { error, told, server } = await follow(t, [answer], post)
    t.ok(error)
    t.strictSame(told, [[error!.code, 1, undefined]])
    t.equal(server.asked.length, 1)
  }
})

t.test('a POST with reconnect: true is repeated, with a new body each time', async t => {
  let n = 0
  const { server } = await follow(t, [ends(event('1')), cuts(event('2')), answers(204)], {
    method: 'POST',
    body: () => `work ${++n}`,
    reconnect: true
  })
  t.strictSame(server.asked.map(({ method, body }) => `${method} ${body}`), ['POST work 1', 'POST work 2',
    'POST work 3'])
})

t.test('a GET with reconnect: false is not repeated', async t => {
  const { server, error } = await follow(t, [ends(event('1'))], { reconnect: false })
  t.equal(error, undefined)
  t.equal(server.asked.length, 1)
})

t.test('4xx is final, and so is every error that a retry cannot fix', async t => {
  for (const status of [201, 301, 400, 401, 403, 404, 410, 418]) {
    const { error, told, server } = await follow(t, [answers(status)])
    t.equal(error?.code, 'FST_SSE_STATUS')
    t.equal(error?.status, status)
    t.strictSame(told, [['FST_SSE_STATUS', 1, undefined]])
    t.equal(server.asked.length, 1)
  }
  t.equal((await follow(t, [answers(200, { 'content-type': 'text/html' }, '<p>')])).error?.code, 'FST_SSE_CONTENT_TYPE')
  t.equal((await follow(t, [ends(`data: ${'x'.repeat(100)}\n\n`)], { maxEventBytes: 100 })).error?.code,
    'FST_SSE_EVENT_SIZE')
})

t.test('408, 425, 429 and 5xx are retried', async t => {
  const statuses = [408, 425, 429, 500, 502, 503, 504]
  const { error, told } = await follow(t, [...statuses.map(status => answers(status)), answers(204)], {
    maxRetryDelay: 1
  })
  t.equal(error, undefined)
  t.strictSame(told.map(([code, attempt]) => `${code} ${attempt}`), statuses.map((_, n) => `FST_SSE_STATUS ${n + 1}`))
})

t.test('the delay is at least Retry-After, in seconds or as a date', async t => {
  for (const [retryAfter, seconds] of [['120', 120], [new Date(Date.now() + 120_500).toUTCString(), 119]] as const) {
    const { told } = await follow(t, [answers(429, { 'retry-after': retryAfter })], { onError: () => false })
    const delay = told[0]![2]!
    t.ok(delay >= seconds && delay <= 121, `${retryAfter}: ${delay} s`)
  }
})

t.test('the delay is at least the reconnection time of the server', async t => {
  const { told } = await follow(t, [cuts('retry: 60000\n\n')], { onError: () => false })
  t.ok(told[0]![2]! >= 60, `${told[0]![2]} s`)
})

t.test('maxAttempts consecutive failures end the stream', async t => {
  const { error, told, server } = await follow(t, [answers(503)], { maxAttempts: 3, maxRetryDelay: 1 })
  t.equal(error?.status, 503)
  t.strictSame(told, [['FST_SSE_STATUS', 1, 0], ['FST_SSE_STATUS', 2, 0], ['FST_SSE_STATUS', 3, undefined]])
  t.equal(server.asked.length, 3)
})

t.test('an attempt with an event, or without an error, resets the count of failures', async t => {
  const script = [answers(503), answers(503), cuts(event('1')), answers(503), ends(), answers(503), answers(503),
    answers(204)]
  const { error, told } = await follow(t, script, { maxAttempts: 3, maxRetryDelay: 1 })
  t.equal(error, undefined)
  t.equal(told.length, 6)
})

t.test('a duplicate or an undecodable event is no progress', async t => {
  const { error, server } = await follow(t, [streams(`: live\n${event('e-1')}${event('e-3')}`),
    streams(`: replay\n${event('e-3')}`)], { maxAttempts: 3, maxRetryDelay: 1 })
  t.equal(error?.code, 'FST_SSE_MISSING_EVENTS')
  t.strictSame(server.asked.map(({ headers }) => headers['last-event-id']), [undefined, 'e-1', 'e-1'])
})

t.test('R1: missing events are requested again', async t => {
  const { came, server, told } = await follow(t, [streams(`: live\n${event('e-1')}${event('e-3')}`),
    ends(`: replay\n${event('e-2')}: live\n${event('e-3')}`), answers(204)])
  t.strictSame(came, ['connecting', 'live', 'e-1', 'connecting', 'replaying', 'e-2', 'live', 'e-3', 'connecting'])
  t.strictSame(told, [['FST_SSE_MISSING_EVENTS', 1, 0]])
  t.equal(await within('the end of the first response', server.asked[0]!.over), false, 'its connection is not kept')
})

t.test('after a 401 onError gets a new token, and the stream resumes', async t => {
  let token = 'old'
  const { came, server, told } = await follow(t, [ends(event('1')), answers(401), ends(event('2')), answers(204)], {
    headers: () => ({ authorization: `Bearer ${token}` }),
    onError: async error => {
      if (error.status !== 401) return
      await turn()
      token = 'new'
      return true
    }
  })
  t.strictSame(server.asked.map(({ headers }) => [headers.authorization, headers['last-event-id']]), [['Bearer old',
    undefined], ['Bearer old', '1'], ['Bearer new', '1'], ['Bearer new', '2']])
  t.strictSame(came, ['connecting', 'live', '1', 'connecting', 'connecting', 'live', '2', 'connecting'])
  t.strictSame(told, [['FST_SSE_STATUS', 2, undefined]])
})

t.test('a result of onError that is no boolean decides nothing', async t => {
  const errors: StreamError[] = []
  const note = (error: StreamError): void => errors.push(error) as unknown as void
  const { error, server } = await follow(t, [answers(404)], { onError: note })
  t.equal(error?.status, 404)
  t.strictSame([errors.length, server.asked.length], [1, 1])
  t.equal(
    (await follow(t, [answers(503), answers(204)], { maxRetryDelay: 1, onError: () => 0 as unknown as void })).error,
    undefined
  )
})

t.test('onError may stop a retry, and an error that it throws ends the stream', async t => {
  t.equal((await follow(t, [answers(503)], { onError: () => false })).error?.status, 503)
  const mistake = new Error('mistake')
  for (const onError of [() => { throw mistake }, () => Promise.reject(mistake)]) {
    const { error, server } = await follow(t, [answers(503)], { onError })
    t.match(error, { code: 'FST_SSE_CALLBACK', message: 'onError() failed: mistake', cause: mistake })
    t.equal(server.asked.length, 1)
  }
})

t.test('onError is optional', async t => {
  const server = await Scripted.start(t, answers(503), answers(404))
  const connection = new Connection(server.url, TICK, message => message, new AbortController().signal)
  await t.rejects(drain(connection), { code: 'FST_SSE_STATUS', status: 404 })
})

t.test('an unreachable server is FST_SSE_NETWORK, and so is a failed request for a token', async t => {
  const server = await Scripted.start(t, ends())
  const { url } = server
  await server.stop()
  const fail = async (options: ConnectionOptions): Promise<StreamError> => {
    const connection = new Connection(url, { ...options, onError: () => false }, message => message,
      new AbortController().signal)
    return await drain(connection).then(() => {
      throw new Error('it did not fail')
    }, error => error)
  }
  const refused = await fail({})
  t.equal(refused.code, 'FST_SSE_NETWORK')
  t.equal(refused.message, `The connection failed: connect ECONNREFUSED ${new URL(url).host}`)
  t.equal((refused.cause as Error).name, 'TypeError')
  t.match(await fail({
    headers: async () => {
      throw new Error('no token')
    }
  }), { code: 'FST_SSE_NETWORK', message: 'headers() failed: no token' })
  t.equal((await fail({ fetch: () => Promise.reject(null) })).message, 'The connection failed: undefined') // eslint-disable-line prefer-promise-reject-errors
})

t.test('a connection that is silent for too long is closed, and the next one resumes', async t => {
  const { came, told, server } = await follow(t, [streams(event('1')), answers(204)], { inactivityTimeout: 1_000 })
  t.strictSame(came, ['connecting', 'live', '1', 'connecting'])
  t.strictSame(told, [['FST_SSE_INACTIVE', 1, 0]])
  t.equal(server.asked[1]!.headers['last-event-id'], '1')
  t.equal(await within('the end of the first response', server.asked[0]!.over), false)
})

t.test('a server that does not respond is silent, too', async t => {
  const { told, error } = await follow(t, [() => {}], { inactivityTimeout: 50, maxAttempts: 2 })
  t.strictSame(told, [['FST_SSE_INACTIVE', 1, 0], ['FST_SSE_INACTIVE', 2, undefined]])
  t.equal(error?.message, 'No bytes for 50 ms')
})

t.test('any byte ends a silence', async t => {
  const beats: Answer = asked => {
    streams()(asked)
    let n = 0
    const timer = setInterval(() => {
      asked.response.write(n % 2 === 0 ? ':' : '\n')
      if (++n < 40) return
      clearInterval(timer)
      asked.response.end('data: there\n\n')
    }, 40)
  }
  const { came, told } = await follow(t, [beats, answers(204)], { inactivityTimeout: 1_200 })
  t.strictSame(came, ['connecting', 'live', 'there', 'connecting'])
  t.strictSame(told, [])
})

t.test('time in which no event is read is no silence of the server', async t => {
  const server = await Scripted.start(t, streams('data: 1\n\n'))
  const connection = new Connection(server.url, { inactivityTimeout: 400 }, message => message,
    new AbortController().signal)
  const items = connection[Symbol.asyncIterator]()
  t.strictSame((await items.next()).value, ['connecting'])
  t.match((await items.next()).value, ['live', { data: '1' }])
  const { response } = await server.request(1)
  // Longer than the timer that must not exist.
  await new Promise(resolve => setTimeout(resolve, 800))
  response.write('data: 2\n\n')
  t.match((await within('the next event', items.next())).value, [{ data: '2' }])
  await items.return(undefined)
})

t.test('an abort releases the socket in any state', async t => {
  const places: Array<[title: string, answer: Answer, items: number]> = [
    ['before the answer', () => {}, 1],
    ['after the head', streams(), 1],
    ['after an event', streams(event('1')), 2],
    ['while the server writes', streams('data: x\n\n'.repeat(100_000)), 2]
  ]
  for (const [title, answer, count] of places) {
    const server = await Scripted.start(t, answer)
    const controller = new AbortController()
    const connection = new Connection(server.url, {}, message => message, controller.signal)
    const items = connection[Symbol.asyncIterator]()
    for (let n = 0; n < count; n++) await items.next()
    const next = items.next()
    const { over } = await server.request(1)
    controller.abort()
    t.equal(await within('the end of the response', over), false, title)
    for (let last = await within('the end', next); last.done !== true;) last = await within('the end', items.next())
    t.equal(server.asked.length, 1)
  }
})

t.test('leaving the loop releases the socket', async t => {
  const { server } = await follow(t, [streams(event('1'))], {}, item => item === '1')
  t.equal(await within('the end of the response', server.asked[0]!.over), false)
})

t.test('an abort ends the wait for the next attempt, also in onError', async t => {
  const before = timersAndSockets().filter(name => name === 'Timeout').length
  const controller = new AbortController()
  for (const leave of [() => { setImmediate(() => controller.abort()) }, () => controller.abort()]) {
    const server = await Scripted.start(t, answers(503, { 'retry-after': '3600' }))
    const connection = new Connection(server.url, { onError: leave }, message => message, controller.signal)
    await within('the end', drain(connection))
  }
  t.ok(timersAndSockets().filter(name => name === 'Timeout').length <= before + 1, 'no timer waits for an hour')
})

t.test('the response of a fetch that ignores the signal is cancelled', async t => {
  const controller = new AbortController()
  let cancelled = false
  let answer = (_response: Response): void => {}
  const asked = new Promise<Response>(resolve => { answer = resolve })
  const connection = new Connection('http://there/', { fetch: () => asked }, message => message, controller.signal)
  const over = drain(connection)
  await turn()
  controller.abort()
  answer(new Response(new ReadableStream({
    cancel: () => {
      cancelled = true
    }
  }), { headers: { 'content-type': 'text/event-stream' } }))
  await within('the end', over)
  t.ok(cancelled)
})

t.test('a body that ignores the signal is abandoned, and its end is no end of the stream', async t => {
  const controller = new AbortController()
  let reads = 0
  let cancelled = false
  const body = new ReadableStream({
    pull: () => {
      reads++
    },
    cancel: () => {
      cancelled = true
    }
  })
  const connection = new Connection('http://there/', {
    fetch: async () => new Response(body, { headers: { 'content-type': 'text/event-stream' } })
  }, message => message, controller.signal)
  const came = drain(connection)
  for (let wait = true; wait; wait = reads === 0) await turn()
  controller.abort()
  t.strictSame(await within('the end', came), [['connecting']])
  t.ok(cancelled)
})

t.test('a reader whose cancel() fails or returns no promise changes nothing', async t => {
  for (const [what, cancel] of oddCancels()) {
    /** A fetch whose body has one event, and then the chunks of `next`. */
    const bringing = (next: (signal: AbortSignal) => Promise<unknown>): ConnectionOptions => ({
      fetch: async (_url, { signal }) => {
        const bytes = [new TextEncoder().encode(event('1'))]
        const read = async (): Promise<unknown> =>
          bytes.length > 0 ? { done: false, value: bytes.pop() } : next(signal!)
        const body = { getReader: () => ({ read, cancel }) }
        return {
          status: 200,
          headers: new Headers({ 'content-type': 'text/event-stream' }),
          body
        } as unknown as Response
      }
    })
    const aborted = async (signal: AbortSignal): Promise<unknown> => {
      await once(signal, 'abort')
      return { done: true }
    }
    const ended = new Connection('http://there/', { ...bringing(async () => ({ done: true })), reconnect: false },
      message => message, new AbortController().signal)
    t.match(await within('the end', drain(ended)), [['connecting'], ['live', { data: '1' }]],
      `${what}: the response ends`)
    const controller = new AbortController()
    const closed = new Connection('http://there/', bringing(aborted), message => {
      setImmediate(() => controller.abort())
      return message
    }, controller.signal)
    t.match(await within('the end', drain(closed)), [['connecting'], ['live', { data: '1' }]],
      `${what}: the program leaves`)
    const silent = new Connection('http://there/', { ...bringing(aborted), inactivityTimeout: 1, reconnect: false },
      message => message, new AbortController().signal)
    await t.rejects(within('the end', drain(silent)), { code: 'FST_SSE_INACTIVE' }, `${what}: no event arrives`)
  }
})

t.test('events that arrive together are yielded together, also before a failure', async t => {
  const server = await Scripted.start(t, ends(`${event('1')}${event('2')}data: ${'x'.repeat(50)}\n\n`))
  const connection = new Connection(server.url, { maxEventBytes: 20 }, message => message, new AbortController().signal)
  const came: Array<Array<Message | StreamState>> = []
  const read = async (): Promise<void> => { for await (const items of connection) came.push(items) }
  await t.rejects(read(), { code: 'FST_SSE_EVENT_SIZE' })
  t.match(came, [['connecting'], ['live', { data: '1' }, { data: '2' }]])
  t.equal(connection.lastEventId, '2')
})

t.test('a thousand consecutive connections leave no listeners and timers', async t => {
  const server = await Scripted.start(t, asked => {
    ;(server.asked.length % 2 === 0 ? ends(event('1')) : ends(`${event('1')}data: half`))(asked)
  })
  const traces: Array<WeakRef<object>> = []
  const traced = async (url: string | URL, init: RequestInit): Promise<Response> => {
    const response = await fetch(url, init)
    for (const object of [init.signal!, init.headers!, response, response.body!]) traces.push(new WeakRef(object))
    return response
  }
  const { signal } = new AbortController()
  const connection = new Connection(server.url, { retryDelay: 0, fetch: traced }, message => message, signal)
  const heaps: number[] = []
  const read = async (): Promise<void> => {
    let events = 0
    for await (const items of connection) {
      events += items.filter(item => typeof item !== 'string').length
      if (items.length === 2 && (events === 100 || events === 1_100)) heaps.push((await settledMemory()).heap)
      if (events === 1_100) return
      // The script keeps its requests.
      if (server.asked.length > 10) server.asked.length = 0
    }
  }
  await within('a thousand connections', read(), 60_000)
  t.ok(traces.length >= 4_000)
  await settledMemory()
  const left = traces.filter(trace => trace.deref() !== undefined).length
  t.ok(left < 40, `${left} of ${traces.length} objects are left`)
  // A part of it belongs to fetch, which grows as much without this client at first.
  t.ok(heaps[1]! - heaps[0]! < 3 * 1024 * 1024,
    `${((heaps[1]! - heaps[0]!) / 1024).toFixed()} KiB more than after a hundred`)
  t.equal(getEventListeners(signal, 'abort').length, 1, 'one for all of them')
})

t.test('an abort in onError waits for no other attempt', async t => {
  const controller = new AbortController()
  const refused = async (): Promise<Response> => {
    throw new TypeError('refused')
  }
  const connection = new Connection('http://there/', {
    fetch: refused,
    retryDelay: 600_000,
    onError: () => controller.abort()
  }, message => message, controller.signal)
  const read = async (): Promise<unknown[]> => {
    const items: unknown[] = []
    for await (const came of connection) items.push(...came)
    return items
  }
  t.strictSame(await within('the end', read()), ['connecting', 'connecting'])
})

t.test('an inactive connection is FST_SSE_INACTIVE, whatever its fetch rejects with', async t => {
  const stubborn = (_url: string | URL, { signal }: RequestInit): Promise<Response> =>
    new Promise((_resolve, reject) => {
      signal!.addEventListener('abort', () => reject(new Error('something else')))
    })
  const failures: string[] = []
  const connection = new Connection('http://there/', {
    fetch: stubborn,
    inactivityTimeout: 20,
    maxAttempts: 1,
    onError: ({ code }) => {
      failures.push(code)
    }
  }, message => message, new AbortController().signal)
  await t.rejects(within('the failure', drain(connection)), { code: 'FST_SSE_INACTIVE' })
  t.strictSame(failures, ['FST_SSE_INACTIVE'])
})

t.test('a stream with heartbeats and without events resets the count of failures', async t => {
  mock.timers.enable({ apis: ['Date'] })
  t.teardown(() => mock.timers.reset())
  let attempts = 0
  const beat = (controller: ReadableStreamDefaultController<Uint8Array>): void =>
    controller.enqueue(new TextEncoder().encode(':\n\n'))
  const living = async (): Promise<Response> => {
    attempts++
    let pulls = 0
    return new Response(new ReadableStream({
      pull: controller => {
        pulls++
        if (pulls === 2) mock.timers.tick(1_500)
        if (pulls === 3) controller.error(new Error('cut'))
        else beat(controller)
      }
    }, { highWaterMark: 0 }), { headers: { 'content-type': 'text/event-stream' } })
  }
  const leaving = new AbortController()
  const connection = new Connection('http://there/', {
    fetch: living,
    maxAttempts: 2,
    retryDelay: 0,
    onError: () => {
      if (attempts === 4) leaving.abort()
    }
  }, message => message, leaving.signal)
  await within('four attempts', drain(connection))
  t.equal(attempts, 4)
})

t.test('E1: a mistake of the program ends the stream at once, unless onError returns true', async t => {
  const cases: Array<[url: string, options: ConnectionOptions, code: string]> = [
    ['/events', {}, 'FST_SSE_REQUEST'],
    ['http://there/', { headers: () => { throw new TypeError('no session') } }, 'FST_SSE_CALLBACK'],
    ['http://there/', { fetch: async () => 5 as never }, 'FST_SSE_RESPONSE'],
    ['http://there/', { lastEventId: 'a\u0001b' }, 'FST_SSE_POSITION']
  ]
  for (const [url, options, code] of cases) {
    let told = 0
    const onError = (error: StreamError, next: { delay: number | undefined }): boolean => {
      t.equal(error.code, code)
      t.equal(next.delay, undefined)
      return ++told < 2
    }
    const connection = new Connection(url, { ...TICK, ...options, onError }, message => message,
      new AbortController().signal)
    await t.rejects(within('the end', drain(connection)), { code })
    t.equal(told, 2)
  }
})

t.test('a received id that no header can carry ends the stream at the next attempt', async t => {
  const { came, error, server } = await follow(t, [ends(event('a\u0001b') + event('2')), cuts(event('a\u007fb'))])
  t.strictSame(came, ['connecting', 'live', 'a\u0001b', '2', 'connecting', 'live', 'a\u007fb', 'connecting'])
  t.equal(error?.code, 'FST_SSE_POSITION')
  t.equal(server.asked.length, 2)
})

t.test('an error of the decoder that is no StreamError ends the stream', async t => {
  const server = await Scripted.start(t, streams(event('1')))
  const mistake = new TypeError('mistake')
  const connection = new Connection(server.url, TICK, () => { throw mistake }, new AbortController().signal)
  await t.rejects(within('the end', drain(connection)), { code: 'FST_SSE_CALLBACK', cause: mistake })
})

/** The window of a page. */
function page (t: Pick<Test, 'intercept'>) {
  const target = new EventTarget()
  t.intercept(globalThis, 'addEventListener', { value: target.addEventListener.bind(target) })
  t.intercept(globalThis, 'removeEventListener', { value: target.removeEventListener.bind(target) })
  return {
    tell: (type: string): void => {
      target.dispatchEvent(new Event(type))
    },
    listeners: (): number =>
      ['pagehide', 'pageshow', 'online'].reduce((sum, type) => sum + getEventListeners(target, type).length, 0)
  }
}

t.test('a page that enters the back/forward cache closes its connection, and continues after the last event when it returns', async t => {
  const window = page(t)
  const server = await Scripted.start(t, streams(event('1')), ends(`${event('2')}id: sse.end\n\n`))
  const told: string[] = []
  const connection = new Connection(server.url, {
    retryDelay: 600_000,
    onError: ({ code }) => {
      told.push(code)
    }
  }, message => message, new AbortController().signal)
  const items = connection[Symbol.asyncIterator]()
  t.strictSame((await items.next()).value, ['connecting'])
  window.tell('pageshow')
  t.match((await items.next()).value, ['live', { data: '1' }])
  const next = items.next()
  const { over } = await server.request(1)
  window.tell('pagehide')
  window.tell('pagehide')
  t.equal(await within('the end of the response', over), false)
  t.strictSame((await within('the state', next)).value, ['connecting'])
  const later = items.next()
  await turn()
  t.equal(server.asked.length, 1, 'nothing is asked for while it is away')
  window.tell('pageshow')
  t.match((await within('the next event', later)).value, ['live', { data: '2' }])
  t.equal((await items.next()).done, true)
  t.strictSame(told, [])
  t.equal(server.asked[1]!.headers['last-event-id'], '1')
  t.equal(window.listeners(), 0)
})

t.test('a page may be hidden at any moment: before the response, with unread events, during a delay, and for good', async t => {
  const window = page(t)
  const server = await Scripted.start(t, () => {}, streams(event('1')), answers(503, { 'retry-after': '600' }),
    streams(event('2')))
  const controller = new AbortController()
  const waits = new EventEmitter()
  const connection = new Connection(server.url, {
    onError: () => {
      waits.emit('waits')
    }
  }, message => message, controller.signal)
  const items = connection[Symbol.asyncIterator]()
  await items.next()
  let next = items.next()
  await server.request(1)
  window.tell('pagehide')
  window.tell('pageshow')
  t.strictSame((await within('the state', next)).value, ['connecting'])
  t.match((await within('the event', items.next())).value, ['live', { data: '1' }])
  // The stream is not read, and the connection is closed all the same.
  window.tell('pagehide')
  t.equal(await within('the end of the response', (await server.request(2)).over), false)
  window.tell('pageshow')
  t.strictSame((await within('the state', items.next())).value, ['connecting'])
  const waiting = once(waits, 'waits')
  next = items.next()
  await within('the refusal', waiting)
  t.strictSame((await within('the state', next)).value, ['connecting'])
  next = items.next()
  window.tell('pagehide')
  window.tell('pageshow')
  t.match((await within('the event', next)).value, ['live', { data: '2' }], 'it does not wait for ten minutes more')
  next = items.next()
  window.tell('pagehide')
  t.strictSame((await within('the state', next)).value, ['connecting'])
  next = items.next()
  controller.abort()
  t.equal((await within('the end', next)).done, true)
  t.equal(window.listeners(), 0)
})

t.test('a stream without reconnect is left to the browser', async t => {
  const window = page(t)
  for (const options of [{ method: 'POST', body: 'work' }, { reconnect: false }]) {
    const server = await Scripted.start(t, streams(event('1')))
    const connection = new Connection(server.url, options, message => message, new AbortController().signal)
    const items = connection[Symbol.asyncIterator]()
    await items.next()
    await items.next()
    window.tell('pagehide')
    window.tell('pageshow')
    const { response } = await server.request(1)
    response.end(event('2'))
    t.match((await within('the rest', items.next())).value, [{ data: '2' }])
    t.equal((await items.next()).done, true)
    t.equal(server.asked.length, 1)
    t.equal(window.listeners(), 0)
  }
})

t.test('after `online` the client waits at most the first delay, and never less than the delay of the server', async t => {
  const window = page(t)
  const timeout = setTimeout
  for (const [retryAfter, retryDelay, before, least, most] of [[0, 20_000, 20_000, 2_000, 2_000], [60, undefined,
    61_000, 60_000, 60_100]] as const) {
    const waits: number[] = []
    const chances = [1, 0.1]
    const refused = new EventEmitter()
    const controller = new AbortController()
    const fetch = async (): Promise<Response> =>
      new Response(null, { status: 503, headers: { 'retry-after': String(retryAfter) } })
    const waiting = once(refused, 'waits')
    const spies = [
      t.intercept(Math, 'random', { value: () => chances.shift() ?? 0 }),
      t.intercept(globalThis, 'setTimeout', {
        value: (call: () => void, time: number) => {
          // Other code has timers, too.
          if (time === before || (time > least - 1_000 && time <= most)) waits.push(time)
          if (time === before) refused.emit('waits')
          return timeout(call, time)
        }
      })
    ]
    const connection = new Connection('http://there/', { fetch, ...retryDelay !== undefined && { retryDelay } },
      message => message, controller.signal)
    const end = drain(connection)
    await waiting
    await turn()
    window.tell('online')
    for (const spy of spies) spy.restore()
    t.equal(waits.length, 2, `${waits}`)
    controller.abort()
    await within('the end', end)
    t.equal(window.listeners(), 0)
  }
})
