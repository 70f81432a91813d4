import t from 'tap'
import { Parser } from '../../lib/client/parser.ts'
import { StreamError } from '../../lib/client/stream-error.ts'
import { StreamReader, type Message, type StreamState } from '../../lib/client/stream-reader.ts'

const encoder = new TextEncoder()

const asItIs = ({ event, data, id }: Message): Message => ({ event, data, id })

/** A reader of texts, as a connection uses it. */
function reading (
  { read = asItIs as (message: Message) => Message | undefined, lastEventId = '', maxEventBytes = 1_000 } = {}
) {
  const reader = new StreamReader(read, lastEventId)
  const items: Array<Message | StreamState> = []
  let parser: Parser
  const begin = (): void => {
    parser = new Parser(reader, maxEventBytes, reader.lastEventId)
    reader.begin()
  }
  begin()
  return {
    reader,
    begin,
    /** Returns the code of the error, if there was one. */
    feed: (text: string): string | undefined => {
      try {
        parser.feed(encoder.encode(text))
      } catch (error) {
        return (error as StreamError).code
      } finally {
        items.push(...reader.takeItems())
      }
    },
    /** Returns whether comments arrived, and nothing else. */
    isHeartbeat: (text: string): boolean => {
      parser.feed(encoder.encode(text))
      return reader.heartbeatOnly === true
    },
    /** Returns the items since the last call. */
    whole: () => items.splice(0),
    /** Returns the items since the last call, events by their data. */
    taken: () => items.splice(0).map(item => typeof item === 'string' ? item : item.data)
  }
}

const event = (id: string, data = id): string => `id: ${id}\ndata: ${data}\n\n`

t.test('an event has its name, its data and the last event id', async t => {
  const { whole, feed } = reading()
  feed('event: a\nid: 1\ndata: x\n\ndata: y\n\n')
  t.strictSame(whole(), ['live', { event: 'a', data: 'x', id: '1' }, { event: 'message', data: 'y', id: '1' }])
  t.strictSame(whole(), [], 'each once')
})

t.test('R2: a stream of channels is replaying until the live comment arrives', async t => {
  const { feed, taken } = reading()
  feed(`: replay\n${event('e-1')}`)
  feed(event('e-2'))
  feed(`: live\n\n${event('e-3')}`)
  t.strictSame(taken(), ['replaying', 'e-1', 'e-2', 'live', 'e-3'])
})

t.test('a stream without the comments of channels is live with its first bytes', async t => {
  for (const text of [':\n\n', 'retry: 5\n\n', 'event: ', ': alive\n\n']) {
    const { feed, taken } = reading()
    feed(text)
    t.strictSame(taken(), ['live'], JSON.stringify(text))
    feed(':\n\n')
    t.strictSame(taken(), [], 'once')
  }
})

t.test('each connection begins with its own state', async t => {
  const { begin, feed, taken } = reading()
  feed(': live\n\n')
  begin()
  feed(': replay\n\n')
  t.strictSame(taken(), ['live', 'replaying'])
})

t.test('the position is that of the last decoded event or of a position event', async t => {
  const { reader: all, begin, feed } = reading({
    lastEventId: '1',
    read: message => {
      if (message.data === 'bad') throw new StreamError('FST_SSE_INVALID_EVENT', 'bad')
      return message.data === 'unknown' ? undefined : message
    }
  })
  t.equal(all.lastEventId, '1')
  feed('data: x\n\n')
  t.equal(all.lastEventId, '1')
  feed(event('2'))
  t.equal(all.lastEventId, '2')
  feed(event('3', 'unknown'))
  t.equal(all.lastEventId, '3', 'an event that the map does not have is one that was read')
  feed('id: 4\n\n')
  t.equal(all.lastEventId, '4')
  t.equal(feed(`${event('5')}${event('6', 'bad')}${event('7')}`), 'FST_SSE_INVALID_EVENT')
  t.equal(all.lastEventId, '5')
  begin()
  feed('id: 8\ndata: x\n')
  t.equal(all.lastEventId, '5', 'a block that is not over is none')
  feed('\nid:\n\n')
  t.equal(all.lastEventId, '', 'an empty id resets')
})

t.test('events before a failure in the same bytes are received', async t => {
  const { feed, taken } = reading({ maxEventBytes: 20 })
  t.equal(feed(`${event('1')}data: ${'x'.repeat(20)}\n\n`), 'FST_SSE_EVENT_SIZE')
  t.strictSame(taken(), ['live', '1'])
})

t.test('R2: a duplicate event on a stream of channels is dropped', async t => {
  const { reader: all, begin, feed, taken } = reading()
  feed(`: replay\n${event('e-1')}${event('e-2')}`)
  begin()
  feed(`: replay\n${event('e-1')}${event('e-2')}${event('e-3')}`)
  t.strictSame(taken(), ['replaying', 'e-1', 'e-2', 'replaying', 'e-3'])
  t.equal(all.lastEventId, 'e-3')
})

t.test('R1: a missing event of a channel is FST_SSE_MISSING_EVENTS, and the position stays before it', async t => {
  const { reader: all, begin, feed, taken } = reading()
  t.equal(feed(`: live\n${event('e-1')}${event('e-3')}`), 'FST_SSE_MISSING_EVENTS')
  t.equal(all.lastEventId, 'e-1')
  t.strictSame(taken(), ['live', 'e-1'])
  begin()
  t.equal(feed(`: replay\n${event('e-3')}`), 'FST_SSE_MISSING_EVENTS', 'the next connection is no better')
  begin()
  t.equal(feed(`: replay\n${event('e-2')}${event('e-3')}`), undefined)
  t.strictSame(taken(), ['replaying', 'replaying', 'e-2', 'e-3'])
})

t.test('R1: missing events and duplicates right after the first position are detected', async t => {
  t.equal(reading({ lastEventId: 'e-5' }).feed(`: replay\n${event('e-7')}`), 'FST_SSE_MISSING_EVENTS')
  const { feed, taken } = reading({ lastEventId: 'e-5' })
  feed(`: replay\n${event('e-5')}${event('e-6')}`)
  t.strictSame(taken(), ['replaying', 'e-6'])
})

t.test('a position event without data moves the position', async t => {
  const { begin, feed, taken } = reading()
  t.equal(feed(`: live\n${event('e-1')}id: e-4\n\n${event('e-5')}`), undefined)
  t.strictSame(taken(), ['live', 'e-1', 'e-5'])
  feed('id: e-9\n\n')
  begin()
  t.equal(feed(`: live\n${event('e-10')}`), undefined)
})

t.test('R3: after sse.reset any id is next, and repeated ids are new events', async t => {
  const { feed, taken } = reading()
  t.equal(feed(`: live\n${event('e-5')}id: e-2\nevent: sse.reset\ndata: {}\n\n${event('e-3')}${event('e-4')}`),
    undefined)
  t.strictSame(taken(), ['live', 'e-5', '{}', 'e-3', 'e-4'])
  t.equal(feed(`event: sse.reset\ndata: {}\n\ndata: state\n\n${event('f-90')}${event('f-92')}`),
    'FST_SSE_MISSING_EVENTS', 'without a position of its own the next event brings it')
  t.strictSame(taken(), ['{}', 'state', 'f-90'])
})

t.test('R5: sse.gap reports lost events, which are not missing events', async t => {
  const { feed, taken } = reading()
  t.equal(feed(`: live\n${event('e-1')}id: e-8\nevent: sse.gap\ndata: {"dropped":7}\n\n${event('e-9')}`), undefined)
  t.strictSame(taken(), ['live', 'e-1', '{"dropped":7}', 'e-9'])
})

t.test('R5: after sse.gap without a position, a snapshot follows, and its last event has the position', async t => {
  const { feed, taken } = reading()
  const state = 'event: sse.gap\ndata: {"dropped":7}\n\ndata: state\n\n'
  t.equal(feed(`: live\n${event('e-1')}${state}${event('e-8')}${event('e-9')}`), undefined)
  t.strictSame(taken(), ['live', 'e-1', '{"dropped":7}', 'state', 'e-8', 'e-9'])
  t.equal(feed(event('e-11')), 'FST_SSE_MISSING_EVENTS')
})

t.test('without the comments of channels, ids are not compared and no event is dropped', async t => {
  const { feed, taken } = reading({ lastEventId: 'e-1' })
  t.equal(feed(`${event('e-5')}${event('e-5')}${event('e-1')}`), undefined)
  t.strictSame(taken(), ['live', 'e-5', 'e-5', 'e-1'])
})

t.test('an event that could not be decoded is received when it is sent again', async t => {
  let broken = true
  const { begin, feed, taken } = reading({
    read: message => {
      if (broken && message.data === 'e-2') throw new StreamError('FST_SSE_INVALID_EVENT', 'broken')
      return message
    }
  })
  t.equal(feed(`: live\n${event('e-1')}${event('e-2')}`), 'FST_SSE_INVALID_EVENT')
  broken = false
  begin()
  t.equal(feed(`: replay\n${event('e-2')}`), undefined)
  t.strictSame(taken(), ['live', 'e-1', 'replaying', 'e-2'])
})

t.test('a connection has progressed after a new event or position', async t => {
  const fruitful = (text: string, lastEventId = ''): boolean => {
    const { reader: all, feed } = reading({
      lastEventId,
      read: message => {
        if (message.data === 'bad') throw new StreamError('FST_SSE_INVALID_EVENT', 'bad')
        return message.data === 'unknown' ? undefined : message
      }
    })
    feed(text)
    return all.progressed
  }
  t.ok(fruitful('data: x\n\n'))
  t.ok(fruitful('data: unknown\n\n'))
  t.ok(fruitful('id: 1\n\n'))
  t.notOk(fruitful(': live\n\nretry: 5\n\n'))
  t.notOk(fruitful('data: bad\n\n'))
  t.notOk(fruitful(`: live\n${event('e-7')}`, 'e-5'), 'an event behind a hole')
  t.notOk(fruitful(`: live\n${event('e-5')}`, 'e-5'), 'a double')

  const { reader: all, begin, feed } = reading()
  feed('data: x\n\n')
  begin()
  t.notOk(all.progressed, 'the next connection has to show it anew')
})

t.test('a heartbeat is a comment without other data', async t => {
  const beat = (text: string): boolean => {
    const { feed, isHeartbeat } = reading()
    feed(':\n\n')
    return isHeartbeat(text)
  }
  for (const text of [':\n\n', ': ping\n\n', ':\n\n:\n\n']) t.ok(beat(text), JSON.stringify(text))
  for (const text of ['data: x\n\n', 'data: x\n\n: note\n\n', ': note\ndata: x\n\n', 'id: 1\n\n:\n\n', ': live\n\n',
    'retry: 5\n\n', '\n']) t.notOk(beat(text), JSON.stringify(text))
})

t.test('the reconnection time is the last one of all connections', async t => {
  const { reader: all, begin, feed } = reading()
  t.equal(all.reconnectionTime, 0)
  feed('retry: 5\n\nretry: 7\n\n')
  begin()
  t.equal(all.reconnectionTime, 7)
})

t.test('the id sse.end marks the end', async t => {
  const { reader: all, feed, taken } = reading()
  feed('id: 1\ndata: x\n\n')
  t.notOk(all.ended)
  feed('id: sse.end\n\n')
  t.ok(all.ended)
  t.strictSame(taken(), ['live', 'x'])
})
