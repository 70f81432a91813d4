import type { ServerResponse } from 'node:http'
import { createHook } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { StreamClosedError } from '../../lib/lifecycle.ts'
import { StreamRegistry, type RegisteredStream } from '../../lib/stream/registry.ts'

const OFF = {
  heartbeatInterval: 0,
  stallTimeout: 0,
  maxLifetime: 0,
  reauthorize: undefined,
  reauthorizeInterval: 15_000,
  onShutdown: 'close'
} as const
const TIMES = { shutdownTimeout: 10_000, reconnectWindow: 0 }

/** A stream that records its calls. */
class FakeStream implements RegisteredStream {
  readonly response = {} as ServerResponse
  readonly calls: string[] = []
  readonly ticks: number[] = []
  readonly over: Promise<void>
  readonly record: RegisteredStream['record']
  readonly options: RegisteredStream['options']
  index = -1
  leave!: () => void

  constructor (streams: StreamRegistry, options: RegisteredStream['options'] = OFF, name = 'GET /', key?: string) {
    this.record = { name, key }
    this.options = options
    this.over = new Promise(resolve => {
      this.leave = () => {
        streams.delete(this)
        resolve()
      }
    })
  }

  tick (now: number): void { this.ticks.push(now) }

  shutdown (): void { this.calls.push('shutdown') }

  destroy (): void {
    this.calls.push('destroy')
    this.leave()
  }
}

interface Timer { period: number, fire: () => void, keepsProcess: boolean, cleared: boolean }

/** Takes the timers into the test's own hand, from here to its end. */
function holdTimers (t: Test): Timer[] {
  const timers: Timer[] = []
  const set = (fire: () => void, period: number) => {
    const timer = { period, fire, keepsProcess: true, cleared: false, unref () { timer.keepsProcess = false } }
    timers.push(timer)
    return timer
  }
  const clear = (timer: Timer | undefined) => { if (timer !== undefined) timer.cleared = true }
  const { setInterval, clearInterval, setTimeout, clearTimeout } = globalThis
  Object.assign(globalThis, { setInterval: set, clearInterval: clear, setTimeout: set, clearTimeout: clear })
  t.teardown(() => Object.assign(globalThis, { setInterval, clearInterval, setTimeout, clearTimeout }))
  return timers
}

t.test('L6: all streams share one timer, with a tenth of their shortest interval', t => {
  const timers = holdTimers(t)
  const streams = new StreamRegistry()
  const members = [
    { heartbeatInterval: 5_000, stallTimeout: 30_000 },
    { heartbeatInterval: 8_000 },
    { maxLifetime: 4_000 },
    { reauthorize: () => true, reauthorizeInterval: 2_000 },
    { stallTimeout: 20 }
  ].map(options => {
    const stream = new FakeStream(streams, { ...OFF, ...options })
    streams.add(stream)
    return stream
  })
  t.same(timers.map(timer => timer.period), [500, 400, 200, 10], 'never below 10 ms')
  t.same(timers.map(timer => timer.cleared), [true, true, true, false], 'one runs')
  t.same(timers.map(timer => timer.keepsProcess), [false, false, false, false], 'none keeps the process alive')
  t.equal(streams.size, 5)

  const before = performance.now()
  timers[3]!.fire()
  const [now] = members[0]!.ticks
  t.ok(now! >= before && now! <= performance.now() + 11, 'no further ahead than a beat')
  t.same(members.map(stream => stream.ticks), [[now], [now], [now], [now], [now]], 'all get the same time')

  for (const stream of members) stream.leave()
  t.equal(streams.size, 0)
  t.equal(timers[3]!.cleared, true, 'the last stream takes the timer along')
  t.end()
})

t.test('L6: the clock of streams is the time of the last tick if that is ahead of the machine', t => {
  const timers = holdTimers(t)
  const streams = new StreamRegistry()
  const stream = new FakeStream(streams, { ...OFF, heartbeatInterval: 10_000 })
  t.ok(Math.abs(streams.now - performance.now()) < 1_000)
  streams.add(stream)
  const before = streams.now
  for (let beat = 0; beat < 60; beat++) timers[0]!.fire()
  t.ok(streams.now - before >= 59_000)
  t.ok(stream.ticks.at(-1)! - stream.ticks[0]! >= 59_000)
  stream.leave()
  streams.add(stream)
  t.ok(streams.now - before >= 59_000, 'it never goes back')
  t.end()
})

t.test('L6: the timer is restarted when a fake clock is installed or removed', t => {
  const first = holdTimers(t)
  const streams = new StreamRegistry()
  streams.add(new FakeStream(streams, { ...OFF, heartbeatInterval: 1_000 }))
  const second = holdTimers(t)
  streams.add(new FakeStream(streams))
  streams.add(new FakeStream(streams))
  t.strictSame(first.map(({ period, cleared }) => ({ period, cleared })), [{ period: 100, cleared: true }],
    'by its own clock')
  t.strictSame(second.map(({ period, cleared }) => ({ period, cleared })), [{ period: 100, cleared: false }])
  t.end()
})

t.test('a registry lists the names of its streams', async t => {
  const streams = new StreamRegistry()
  const [one, two] = [new FakeStream(streams, OFF, 'GET /one'), new FakeStream(streams, OFF, 'POST /two')]
  streams.add(one)
  streams.add(two)
  t.strictSame(streams.names, ['GET /one', 'POST /two'])
  one.leave()
  t.strictSame(streams.names, ['POST /two'])
  two.leave()
})

t.test('L6: the timer ticks once a second if no stream has a shorter interval', t => {
  const timers = holdTimers(t)
  for (const options of [OFF, { ...OFF, heartbeatInterval: 15_000 }]) {
    const streams = new StreamRegistry()
    streams.add(new FakeStream(streams, options))
  }
  t.same(timers.map(timer => timer.period), [1_000, 1_000])
  t.end()
})

t.test('L6: on a fake clock, the first stream after an empty registry starts the timer again', t => {
  const timers = holdTimers(t)
  const streams = new StreamRegistry()
  for (let round = 0; round < 2; round++) {
    const stream = new FakeStream(streams)
    streams.add(stream)
    stream.leave()
  }
  t.same(timers.map(timer => timer.cleared), [true, true])
  t.end()
})

t.test('L6: on the clock of the machine, streams that follow each other share a timer, and a later stream starts it again', async t => {
  const streams = new StreamRegistry()
  let made = 0
  const hook = createHook({ init: (_id, type) => { if (type === 'Timeout') made++ } }).enable()
  for (let n = 0; n < 3; n++) {
    const stream = new FakeStream(streams, { ...OFF, stallTimeout: 20 })
    streams.add(stream)
    stream.leave()
  }
  hook.disable()
  t.equal(made, 1, 'one timer for all')
  for (const pause of [0, 30]) {
    for (let n = 0; n < 3; n++) {
      const stream = new FakeStream(streams, { ...OFF, stallTimeout: 20 })
      streams.add(stream)
      if (n === 2) while (stream.ticks.length < 2) await turn()
      stream.leave()
    }
    const until = performance.now() + pause
    while (performance.now() < until) await turn()
  }
  t.equal(streams.size, 0)
  await streams.close(TIMES)
})

t.test('L7: close ends every stream and waits until each is over, also when it is called twice', async t => {
  const timers = holdTimers(t)
  const streams = new StreamRegistry()
  const [first, second] = [new FakeStream(streams), new FakeStream(streams, { ...OFF, onShutdown: 'drain' })]
  streams.add(first)
  streams.add(second)
  t.equal(streams.signal.aborted, false)

  let closed = false
  const closing = streams.close(TIMES)
  closing.then(() => { closed = true })
  t.equal(streams.close(TIMES), closing)
  t.equal(streams.signal.aborted, true)
  t.equal((streams.signal.reason as StreamClosedError).reason, 'shutdown')
  t.same(first.calls, [], 'the signal of the source aborts first')
  while (first.calls.length === 0) await turn()
  t.same([first.calls, second.calls], [['shutdown'], []])
  first.leave()
  await turn()
  t.equal(closed, false, 'one is still there')
  second.leave()
  await closing
  t.same([first.calls, second.calls], [['shutdown'], []], 'a stream that ended in time is not ended again or cut off')
  t.ok(timers.every(timer => timer.cleared), 'no timer is left')
})

t.test('L7: close without streams settles at once', async t => {
  const streams = new StreamRegistry()
  await streams.close(TIMES)
  t.equal(streams.signal.aborted, true)
})

t.test('streams are counted by their key, and are iterable', async t => {
  const streams = new StreamRegistry()
  const members = ['me', 'me', 'you', undefined].map(key => new FakeStream(streams, OFF, 'GET /', key))
  for (const member of members) streams.add(member)
  t.same([...streams], members)
  t.same(['me', 'you', 'nobody'].map(key => streams.countOf(key)), [2, 1, 0])
  members[0]!.leave()
  members[0]!.leave()
  t.same(['me', 'you'].map(key => streams.countOf(key)), [1, 1], 'once each')
  for (const member of members) member.leave()
  t.same(['me', 'you'].map(key => streams.countOf(key)), [0, 0])
})

t.test('L6: the timer slows down with the next tick after its fastest stream has ended', async t => {
  const timers = holdTimers(t)
  const streams = new StreamRegistry()
  const join = (heartbeatInterval: number): FakeStream => {
    const stream = new FakeStream(streams, { ...OFF, heartbeatInterval })
    streams.add(stream)
    return stream
  }
  const [slow, fast, alike] = [join(5_000), join(200), join(200)]
  const running = () => timers.filter(timer => !timer.cleared).map(timer => timer.period)
  t.strictSame(running(), [20])
  fast.leave()
  t.strictSame(running(), [20], 'another needs it still')
  const [beat] = timers.filter(timer => !timer.cleared)
  beat!.fire()
  t.strictSame(running(), [20], 'still')
  alike.leave()
  alike.leave()
  beat!.fire()
  t.strictSame(running(), [500])
  slow.leave()
  timers.at(-1)!.fire()
  t.strictSame(running(), [])
})
