import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { EventStream, type ReceivedEvent } from '../../lib/client/event-stream.ts'
import type { StreamState } from '../../lib/client/stream-reader.ts'
import { StreamError } from '../../lib/client/stream-error.ts'
import { within } from '../setup/within.ts'

type Item = ReceivedEvent | StreamState

const event = (data: unknown, name = 'message'): ReceivedEvent => ({ event: name, data, id: '' })

/** A stream of batches, and the state of its source. */
function streamOf (
  batches: Iterable<Item[]>,
  { failure, open = false, onStateChange }: {
    failure?: StreamError
    open?: boolean
    onStateChange?: (state: StreamState) => void
  } = {}
) {
  const source = { asked: 0, returned: false, left: 0 }
  let leave = (): void => {}
  const gone = new Promise<void>(resolve => { leave = resolve })
  async function * give (): AsyncGenerator<Item[], void> {
    try {
      for (const batch of batches) {
        source.asked++
        yield batch
      }
      if (open) await gone
      if (failure !== undefined) throw failure
    } finally {
      source.returned = true
    }
  }
  const stream = new EventStream<ReceivedEvent>(give(), () => {
    source.left++
    leave()
  }, onStateChange)
  return { stream, source }
}

const numbers = function * (): Generator<Item[]> { for (let n = 0; ; n++) yield [event(n)] }

async function read (stream: AsyncIterable<ReceivedEvent>): Promise<unknown[]> {
  const came: unknown[] = []
  for await (const { data } of stream) came.push(data)
  return came
}

t.test('a loop gets every event, in order, and ends with the stream', async t => {
  const { stream, source } = streamOf([['live', event(1)], [event(2), event(3)], [], [event(4)]])
  t.strictSame(await within('the loop', read(stream)), [1, 2, 3, 4])
  t.strictSame(await stream.closed, { reason: 'complete' })
  t.strictSame(source, { asked: 4, returned: true, left: 1 })
})

t.test('listeners get the events of their name, and each of them', async t => {
  const { stream } = streamOf([[event(1, 'a'), event(2, 'b')], [event(3, 'a')]])
  const came: unknown[] = []
  stream.on('a', ({ data }) => came.push(`first ${data}`))
  stream.on('a', ({ data }) => came.push(`second ${data}`))
  stream.on('b', ({ data }) => came.push(`b ${data}`))
  await within('the end', stream.closed)
  t.strictSame(came, ['first 1', 'second 1', 'b 2', 'first 3', 'second 3'])
})

t.test('a loop and listeners may be together', async t => {
  const { stream } = streamOf([[event(1, 'a'), event(2, 'b')]])
  const came: unknown[] = []
  stream.on('a', ({ data }) => came.push(data))
  t.strictSame(await within('the loop', read(stream)), [1, 2])
  t.strictSame(came, [1])
})

t.test('a removed listener receives no events', async t => {
  const { stream } = streamOf([[event(1), event(2), event(3)]])
  const came: unknown[] = []
  const off = stream.on('message', ({ data }) => {
    came.push(data)
    if (data === 2) off()
  })
  stream.on('other', () => {})
  await within('the end', stream.closed)
  t.strictSame(came, [1, 2])
  t.doesNotThrow(off, 'twice is once')
})

t.test('removing a listener twice does not remove a later one', async t => {
  const { stream } = streamOf([[event(1)]])
  const came: unknown[] = []
  const off = stream.on('message', () => {})
  off()
  stream.on('message', ({ data }) => came.push(data))
  off()
  await within('the end', stream.closed)
  t.strictSame(came, [1])
})

t.test('without a loop or a listener no event is read', async t => {
  const { stream, source } = streamOf(numbers())
  await turn()
  t.equal(source.asked, 1)
  const events = stream[Symbol.asyncIterator]()
  await turn()
  t.match(await events.next(), { value: { data: 0 }, done: false })
  stream.close()
})

t.test('after the last listener is removed, events wait for another', async t => {
  const { stream, source } = streamOf(numbers())
  const came: unknown[] = []
  const off = stream.on('message', ({ data }) => {
    came.push(data)
    if (data === 1) off()
  })
  await turn()
  t.strictSame(came, [0, 1])
  t.equal(source.asked, 3)
  await new Promise<void>(resolve => {
    stream.on('message', ({ data }) => {
      came.push(data)
      stream.close()
      resolve()
    })
  })
  t.strictSame(came, [0, 1, 2])
})

t.test('L4: a stream reads no faster than its loop', async t => {
  const { stream, source } = streamOf(numbers())
  const events = stream[Symbol.asyncIterator]()
  for (let n = 0; n < 3; n++) {
    t.match(await events.next(), { value: { data: n } })
    await turn()
    t.ok(source.asked <= n + 2, `${source.asked} asked for when ${n + 1} were taken`)
  }
  stream.close()
})

t.test('concurrent calls of next() each get their own event', async t => {
  const { stream } = streamOf([[event(1)], [event(2)]], { open: true })
  const events = stream[Symbol.asyncIterator]()
  const nexts = [events.next(), events.next(), events.next(), events.next()]
  t.match(await within('the first two', Promise.all(nexts.slice(0, 2))), [{ value: { data: 1 } }, {
    value: { data: 2 }
  }])
  stream.close()
  t.strictSame(await within('the others', Promise.all(nexts.slice(2))), [{ value: undefined, done: true }, {
    value: undefined,
    done: true
  }])
})

t.test('leaving the loop closes the stream', async t => {
  const { stream, source } = streamOf(numbers())
  for await (const { data } of stream) if (data === 2) break
  t.strictSame(await within('the end', stream.closed), { reason: 'closed' })
  await turn()
  t.equal(source.returned, true)
  t.equal(source.left, 1)
})

t.test('an error in the body of the loop closes the stream, and is thrown', async t => {
  const { stream } = streamOf(numbers())
  const mistake = new Error('mistake')
  await t.rejects((async () => { for await (const { data } of stream) if (data === 1) throw mistake })(), mistake)
  t.strictSame(await within('the end', stream.closed), { reason: 'closed' })
})

t.test('close() ends the loop and drops unread events', async t => {
  const { stream, source } = streamOf([[event(1), event(2), event(3)]], { open: true })
  const events = stream[Symbol.asyncIterator]()
  await turn()
  stream.close()
  t.strictSame(await events.next(), { value: undefined, done: true })
  t.strictSame(await within('the end', stream.closed), { reason: 'closed' })
  stream.close()
  t.equal(source.left, 1, 'twice is once')
})

t.test('close() ends a waiting loop', async t => {
  const { stream } = streamOf([], { open: true })
  const loop = read(stream)
  await turn()
  stream.close()
  t.strictSame(await within('the loop', loop), [])
})

t.test('after a listener closes the stream, no listener and no loop receives an event', async t => {
  const { stream } = streamOf([[event(1), event(2)], [event(3)]])
  const came: unknown[] = []
  const loop = read(stream)
  stream.on('message', ({ data }) => {
    came.push(data)
    stream.close()
  })
  stream.on('message', ({ data }) => came.push(`later ${data}`))
  t.strictSame(await within('the loop', loop), [])
  t.strictSame(came, [1])
  t.strictSame(await stream.closed, { reason: 'closed' })
})

t.test('a stream that is closed at once reads nothing', async t => {
  const { stream } = streamOf([['live', event(1)]])
  stream.close()
  t.equal(stream.state, 'closed')
  t.strictSame(await within('the loop', read(stream)), [])
})

t.test('a failure is thrown in the loop, once, and settles closed', async t => {
  const failure = new StreamError('FST_SSE_STATUS', 'no')
  const { stream } = streamOf([[event(1)]], { failure })
  const events = stream[Symbol.asyncIterator]()
  t.match(await events.next(), { value: { data: 1 } })
  await t.rejects(events.next(), failure)
  t.strictSame(await events.next(), { value: undefined, done: true })
  const closed = await stream.closed
  t.equal(closed.reason, 'error')
  t.equal(closed.error, failure)
})

t.test('a failure is thrown after the events before it', async t => {
  const failure = new StreamError('FST_SSE_STATUS', 'no')
  const { stream } = streamOf([[event(1), event(2)]], { failure })
  const events = stream[Symbol.asyncIterator]()
  await turn()
  t.match(await events.next(), { value: { data: 1 } })
  t.match(await events.next(), { value: { data: 2 } })
  await t.rejects(events.next(), failure)
})

t.test('one of several waiting calls of next() rejects with the failure', async t => {
  const failure = new StreamError('FST_SSE_STATUS', 'no')
  const { stream } = streamOf([], { failure })
  const events = stream[Symbol.asyncIterator]()
  const [first, second] = [events.next(), events.next()]
  await t.rejects(first, failure)
  t.strictSame(await second, { value: undefined, done: true })
})

t.test('a failure before the loop is thrown in a later loop, and is never unhandled', async t => {
  const failure = new StreamError('FST_SSE_STATUS', 'no')
  const { stream } = streamOf([], { failure })
  await within('the end', stream.closed)
  await turn()
  await t.rejects(read(stream), failure)
})

t.test('a second loop is FST_SSE_LOCKED, also after the first has ended', async t => {
  const { stream } = streamOf([[event(1)]])
  t.strictSame(await read(stream), [1])
  t.throws(() => stream[Symbol.asyncIterator](), { code: 'FST_SSE_LOCKED' })
})

t.test('state is the current state, and onStateChange is called with each change', async t => {
  const states: StreamState[] = []
  const { stream } = streamOf([['connecting'], ['replaying', event(1), 'live', 'live'], ['connecting'], ['live']], {
    onStateChange: state => states.push(state)
  })
  t.equal(stream.state, 'connecting')
  const seen: StreamState[] = []
  stream.on('message', () => seen.push(stream.state))
  await within('the end', stream.closed)
  t.strictSame(states, ['replaying', 'live', 'connecting', 'live', 'closed'])
  t.strictSame(seen, ['replaying'])
  t.equal(stream.state, 'closed')
})

t.test('states change although no event is read', async t => {
  const states: StreamState[] = []
  const { stream } = streamOf([['live']], { open: true, onStateChange: state => states.push(state) })
  await turn()
  t.strictSame(states, ['live'])
  stream.close()
  t.strictSame(states, ['live', 'closed'])
})

t.test('onStateChange may close the stream', async t => {
  const states: StreamState[] = []
  const made: { stream?: EventStream<ReceivedEvent> } = {}
  const { stream } = streamOf([['live', event(1)]], {
    onStateChange: state => {
      states.push(state)
      made.stream!.close()
    }
  })
  made.stream = stream
  t.strictSame(await within('the loop', read(stream)), [])
  t.strictSame(states, ['live', 'closed'])
})

t.test('an error of a listener or of onStateChange is an uncaught one, and the stream continues', async t => {
  const uncaught: unknown[] = []
  process.setUncaughtExceptionCaptureCallback(error => uncaught.push(error))
  t.teardown(() => process.setUncaughtExceptionCaptureCallback(null))
  const [first, second] = [new Error('first'), new Error('second')]
  const { stream } = streamOf([['live', event(1)], [event(2)]], {
    onStateChange: state => {
      if (state === 'live') throw first
    }
  })
  const came: unknown[] = []
  stream.on('message', ({ data }) => {
    came.push(data)
    if (data === 1) throw second
  })
  await within('the end', stream.closed)
  await turn()
  t.strictSame(came, [1, 2])
  t.strictSame(uncaught, [first, second])
})

t.test('E1: any other error of the source becomes a StreamError', async t => {
  const mistake = new TypeError('mistake')
  const source = (async function * (): AsyncGenerator<Item[], void> {
    throw mistake
  })()
  t.match(await new EventStream(source, () => {}).closed, {
    reason: 'error',
    error: { code: 'FST_SSE_CALLBACK', cause: mistake }
  })
})
