import t, { type Test } from 'tap'
import type { StreamError } from '../../lib/client/stream-error.ts'
import { streamStore, type StoreOptions, type StreamSnapshot, type StreamStore } from '../../lib/client/stream-store.ts'
import { answers, cuts, ends, Scripted, streams } from '../setup/scripted.ts'
import { within } from '../setup/within.ts'

const END = 'id: sse.end\n\n'

/** A store with a subscriber that counts its calls. */
class Subscribed {
  readonly store: StreamStore
  calls = 0
  readonly unsubscribe: () => void
  #told = (): void => {}

  constructor (t: Test, options: StoreOptions) {
    this.store = streamStore('key', options)
    this.unsubscribe = this.store.subscribe(() => {
      this.calls++
      this.#told()
    })
    t.teardown(this.unsubscribe)
  }

  /** Resolves to the snapshot that a condition holds for, when the subscriber is called. */
  async when (what: string, holds: (now: StreamSnapshot<unknown>) => boolean): Promise<StreamSnapshot<unknown>> {
    const wait = async (): Promise<void> => {
      while (!holds(this.store.get())) await new Promise<void>(resolve => { this.#told = resolve })
    }
    await within(what, wait())
    return this.store.get()
  }

  closed (): Promise<StreamSnapshot<unknown>> { return this.when('the end', ({ status }) => status === 'closed') }
}

const sum = (state: number, event: { data: string }): number => state + Number(event.data)
const turn = (): Promise<void> => new Promise(resolve => { setImmediate(resolve) })

t.test('a store reduces events, and calls its subscriber once for events that arrive together', async t => {
  const server = await Scripted.start(t, streams('data: 1\n\ndata: 2\n\ndata: 3\n\n'))
  const subscribed = new Subscribed(t, { url: server.url, reduce: sum, initialState: 10 })
  const first = subscribed.store.get()
  t.strictSame(first, { state: 10, status: 'connecting', error: undefined })
  const now = await subscribed.when('the events', ({ state }) => state === 16)
  t.strictSame(now, { state: 16, status: 'live', error: undefined })
  t.equal(subscribed.store.get(), now, 'it stays the same object')
  t.ok(subscribed.calls <= 2, `${subscribed.calls} calls`)
  t.strictSame(first, { state: 10, status: 'connecting', error: undefined }, 'a snapshot never changes')
})

t.test('without reduce the state is the last event', async t => {
  const server = await Scripted.start(t, ends(`data: 1\n\nid: a\ndata: 2\n\n${END}`))
  const subscribed = new Subscribed(t, { url: server.url })
  t.equal(subscribed.store.get().state, undefined)
  t.strictSame(await subscribed.closed(),
    { state: { event: 'message', data: '2', id: 'a' }, status: 'closed', error: undefined })
})

t.test('a subscriber that unsubscribes at once opens no connection, and a second one opens one', async t => {
  const server = await Scripted.start(t, streams('data: 1\n\n'))
  const store = streamStore('key', { url: server.url })
  const changed = (): void => { t.fail('it is not called') }
  store.subscribe(changed)()
  const subscribed = new Subscribed(t, { url: server.url })
  await subscribed.when('an event', ({ state }) => state !== undefined)
  t.equal(server.asked.length, 1)
})

t.test('unsubscribing closes the connection at once, and the subscriber is not called again', async t => {
  const server = await Scripted.start(t, streams('data: 1\n\n'))
  const states: string[] = []
  const subscribed = new Subscribed(t, { url: server.url, onStateChange: state => states.push(state) })
  await subscribed.when('an event', ({ state }) => state !== undefined)
  const { over } = await server.request(1)
  const { calls } = subscribed
  subscribed.unsubscribe()
  t.strictSame(states, ['live', 'closed'], 'synchronously')
  t.equal(await within('the close', over), false)
  await turn()
  t.equal(subscribed.calls, calls)
  t.equal(subscribed.store.get().status, 'live', 'the snapshot stays for as long as it is shown')
  subscribed.unsubscribe()
})

t.test('an event that waits for its call is dropped when the subscriber unsubscribes', async t => {
  const server = await Scripted.start(t, streams('data: 1\n\n'))
  const subscribed = new Subscribed(t, {
    url: server.url,
    reduce: () => {
      queueMicrotask(() => {
        subscribed.unsubscribe()
        subscribed.calls = 0
      })
    }
  })
  await within('the close', (await server.request(1)).over)
  t.equal(subscribed.calls, 0)
})

t.test('a second subscription connects again, from the initial state', async t => {
  const server = await Scripted.start(t, streams('data: 1\n\ndata: 1\n\n'), streams('data: 5\n\n'))
  const subscribed = new Subscribed(t, { url: server.url, reduce: sum, initialState: 0 })
  await subscribed.when('the events', ({ state }) => state === 2)
  subscribed.unsubscribe()
  let calls = 0
  const changed = new Promise<void>(resolve => {
    const unsubscribe = subscribed.store.subscribe(() => {
      if (calls++ === 0) t.strictSame(subscribed.store.get(), { state: 0, status: 'connecting', error: undefined })
      if (subscribed.store.get().state === 5) resolve()
    })
    t.teardown(unsubscribe)
  })
  await within('the event', changed)
  t.equal(server.asked.length, 2)
})

t.test('a failure is shown until the stream is live again', async t => {
  const server = await Scripted.start(t, answers(503), cuts('data: 1\n\n'), streams('data: 2\n\n'))
  const failures: Array<[number | undefined, number]> = []
  const subscribed = new Subscribed(t, {
    url: server.url,
    retryDelay: 1,
    reduce: sum,
    initialState: 0,
    onError: ({ status }, { attempt }) => { failures.push([status, attempt]) }
  })
  const { status, error } = await subscribed.when('the failure', ({ error }) => error !== undefined)
  t.equal(status, 'connecting')
  t.match(error, { code: 'FST_SSE_STATUS', status: 503 })
  t.strictSame(await subscribed.when('both events', ({ state }) => state === 3),
    { state: 3, status: 'live', error: undefined })
  t.strictSame(failures[0], [503, 1], 'onError of the program is called')
})

t.test('an error that ends the stream stays, and onError decides', async t => {
  const server = await Scripted.start(t, answers(401), answers(401), answers(401))
  const refused = await new Subscribed(t, { url: server.url }).closed()
  t.match(refused, { state: undefined, status: 'closed', error: { code: 'FST_SSE_STATUS', status: 401 } })
  const again: boolean[] = [true, false]
  await new Subscribed(t, { url: server.url, retryDelay: 1, onError: () => again.shift()! }).closed()
  t.equal(server.asked.length, 3)
})

t.test('a stream that ends without events after a failure has no error', async t => {
  const server = await Scripted.start(t, answers(500), answers(204))
  t.strictSame(await new Subscribed(t, { url: server.url, retryDelay: 1 }).closed(),
    { state: undefined, status: 'closed', error: undefined })
})

t.test('if reduce throws, the stream closes with FST_SSE_CALLBACK and keeps the state', async t => {
  const server = await Scripted.start(t, streams('data: 1\n\ndata: x\n\n'))
  const reduce = (state: number, { data }: { data: string }): number => {
    if (data === 'x') throw new RangeError('no number')
    return state + Number(data)
  }
  const subscribed = new Subscribed(t, { url: server.url, reduce, initialState: 1 })
  const { state, error } = await subscribed.when('the error', ({ error }) => error !== undefined)
  t.equal(state, 2)
  t.match(error, { code: 'FST_SSE_CALLBACK', message: 'reduce() failed: no number' })
  t.ok((error as StreamError).cause instanceof RangeError)
  t.equal(await within('the close', (await server.request(1)).over), false)
})

t.test('an invalid option is an error of the snapshot', async t => {
  const { error } = await new Subscribed(t, { url: 'http://127.0.0.1/', retryDelay: -1 }).closed()
  t.match(error, { code: 'FST_SSE_OPTION' })
})

t.test('functions are those of the latest options, other values those of the connection', async t => {
  const server = await Scripted.start(t, answers(503), streams('data: 1\n\n'))
  const asked: string[] = []
  const options = (token: string, factor: number): StoreOptions => ({
    url: ({ attempt }) => `${server.url}${token}${attempt}`,
    headers: () => ({ 'x-token': token }),
    method: 'GET',
    body: undefined,
    retryDelay: 1,
    reduce: (state: number, { data }: { data: string }) => state + factor * Number(data),
    initialState: 0,
    fetch: (url, init) => {
      asked.push(token)
      return fetch(url, init)
    },
    onError: () => { store.keep(options('new', 7))() }
  })
  const subscribed = new Subscribed(t, options('old', 1))
  const { store } = subscribed
  await subscribed.when('the event', ({ state }) => state === 7)
  t.strictSame(server.asked.map(({ url, headers }) => [url, headers['x-token']]),
    [['/old1', 'old'], ['/new2', 'new']])
  t.strictSame(asked, ['old', 'new'])
})

t.test('a function that became a value is that value', async t => {
  const server = await Scripted.start(t, answers(503), streams('data: 1\n\n'))
  const { url } = server
  const subscribed = new Subscribed(t, {
    url,
    retryDelay: 1,
    headers: () => ({ 'x-token': 'old' }),
    onError: () => { subscribed.store.keep({ url, headers: { 'x-token': 'new' } })() }
  })
  await subscribed.when('the event', ({ state }) => state !== undefined)
  t.strictSame(server.asked.map(({ headers }) => headers['x-token']), ['old', 'new'])
})

t.test('without a URL nothing is opened', async t => {
  for (const url of [null, undefined]) {
    const subscribed = new Subscribed(t, { url, initialState: 5 })
    t.strictSame(subscribed.store.get(), { state: 5, status: 'closed', error: undefined })
    await turn()
    t.equal(subscribed.calls, 0)
    subscribed.unsubscribe()
  }
})
