import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import { connect, type StreamState } from '../../lib/client.ts'
import sse from '../../lib/index.ts'
import { listen } from '../setup/listen.ts'
import { Relay } from '../setup/relay.ts'
import { until } from '../setup/until.ts'
import { within } from '../setup/within.ts'

// The client and the server agree on the marks of a channel's stream, on the end mark, and on offsets that are no gap.

t.test('R9: the client replays, is live, and counts through reconnects and filters without a gap', async t => {
  const events = { n: Type.Integer() }
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse, { retry: 5 })
  const numbers = app.sse.channel('numbers', { events, start: 'earliest' })
  app.get('/', { schema: { sse: events } },
    (_request, reply) => reply.sse(numbers.subscribe({ filter: event => event.data % 3 !== 0 })))
  const port = await listen(t, app)
  const relay = await Relay.start(t, () => [port])
  let last = 0
  const publish = (count: number): void => {
    for (const end = last + count; last < end;) numbers.publish({ event: 'n', data: ++last })
  }
  publish(10)

  const states: StreamState[] = []
  const failures: string[] = []
  const got: number[] = []
  const stream = connect(`http://127.0.0.1:${relay.port}/`, {
    events,
    retryDelay: 5,
    onStateChange: state => states.push(state),
    onError: ({ code }) => {
      failures.push(code)
    }
  })
  t.teardown(() => stream.close())
  stream.on('n', ({ data }) => got.push(data))
  await until('live', () => states.includes('live'))
  t.strictSame(states, ['replaying', 'live'])

  for (let times = 0; times < 5; times++) {
    const had = got.length
    publish(10)
    await until('something of this round', () => got.length > had)
    relay.cut()
    publish(10)
    await until('the rest of it', () => got.at(-1) === last || got.at(-1) === last - 1)
  }
  const expected = Array.from({ length: last }, (_, index) => index + 1).filter(n => n % 3 !== 0)
  t.strictSame(got, expected, 'nothing lost, nothing twice')
  t.strictSame([...new Set(failures)].filter(code => code !== 'FST_SSE_NETWORK'), [], 'no false gap was reported')

  await numbers.end()
  t.strictSame(await within('the end', stream.closed), { reason: 'complete' })
})
