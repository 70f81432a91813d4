import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { StreamRecord } from '../../lib/stream/stream-record.ts'
import { resolveOptions, type SseOptions } from '../../lib/stream/options.ts'
import { Statistics } from '../../lib/metrics/statistics.ts'
import { LifetimePolicy } from '../../lib/stream/lifetime-policy.ts'

const request = { method: 'GET', url: '/' } as FastifyRequest

function make (options: SseOptions): { policy: LifetimePolicy, calls: string[], lines: unknown[] } {
  const calls: string[] = []
  const lines: unknown[] = []
  const reply = { request, log: { error: (line: unknown) => lines.push(line) } } as unknown as ConstructorParameters<
    typeof StreamRecord
  >[0]['reply']
  const record = new StreamRecord({
    reply,
    route: { name: 'GET /', counters: new Statistics().route('GET /') },
    key: undefined,
    time: { now: 1_000 },
    counted: true
  })
  const policy = new LifetimePolicy(resolveOptions(options), record, {
    end: reason => calls.push(reason),
    revoke: () => calls.push('revoke')
  })
  return { policy, calls, lines }
}

t.test('a stream ends when its lifetime is over, ±10 %', async t => {
  const ends = Array.from({ length: 200 }, () => {
    const { policy, calls } = make({ maxLifetime: 1_000 })
    let now = 1_000
    while (calls.length === 0) policy.tick(now += 10)
    t.strictSame(calls, ['expired'])
    return now - 1_000
  })
  t.ok(Math.min(...ends) >= 900 && Math.max(...ends) <= 1_110)
  t.ok(Math.max(...ends) - Math.min(...ends) > 100, 'not all together')
})

t.test('reauthorize is called every interval, the first time within one, and false ends the stream', async t => {
  for (const answer of [false, undefined, 0, Promise.resolve(false)]) {
    let checks = 0
    const times: number[] = []
    let now = 1_000
    const { policy, calls } = make({
      reauthorizeInterval: 100,
      reauthorize: subject => {
        t.equal(subject, request)
        times.push(now)
        return ++checks < 3 ? true : answer as boolean
      }
    })
    while (now < 1_300) policy.tick(now += 10)
    await turn()
    t.strictSame(calls, ['revoke'])
    t.ok(times[0]! >= 1_050 && times[0]! <= 1_100)
    t.strictSame(times.slice(0, 3).map(time => time - times[0]!), [0, 100, 200])
  }
})

/** A policy whose answers are in the test's hand, in the order in which they were asked for. */
function asking (): ReturnType<typeof make> & {
  answers: Array<{ give: (permitted: boolean) => void, fail: (error: Error) => void }>
} {
  const answers: Array<{ give: (permitted: boolean) => void, fail: (error: Error) => void }> = []
  const made = make({
    reauthorizeInterval: 100,
    reauthorize: () =>
      new Promise((resolve, reject) => {
        answers.push({ give: resolve, fail: reject })
      })
  })
  return { ...made, answers }
}

t.test('reauthorize is not called again within the interval while its promise is pending', async t => {
  const { policy, calls, lines, answers } = asking()
  for (let now = 1_100; now < 1_200; now += 10) policy.tick(now)
  t.equal(answers.length, 1)
  answers[0]!.give(true)
  await turn()
  policy.tick(1_200)
  t.equal(answers.length, 2)
  answers[1]!.give(false)
  await turn()
  t.strictSame([calls, lines], [['revoke'], []])
})

t.test('L12: a promise that does not settle within one interval is logged, and reauthorize is called again', async t => {
  const { policy, calls, lines, answers } = asking()
  for (const now of [1_100, 1_200, 1_300]) policy.tick(now)
  t.equal(answers.length, 3)
  t.match(lines, [{
    err: {
      code: 'FST_SSE_REAUTHORIZE_TIMEOUT',
      message: 'The promise of reauthorize did not settle within 100 milliseconds: resolve or reject it sooner'
    }
  }, { err: { code: 'FST_SSE_REAUTHORIZE_TIMEOUT' } }])
  t.equal(lines.length, 2)
  t.strictSame(calls, [])
})

t.test('L12: a late result counts only if it is false', async t => {
  const { policy, calls, lines, answers } = asking()
  for (const now of [1_100, 1_200, 1_300]) policy.tick(now)
  answers[0]!.give(true)
  answers[1]!.fail(new Error('late'))
  await turn()
  policy.tick(1_400)
  t.equal(lines.length, 3, 'the third was still waited for')
  answers[3]!.give(true)
  await turn()
  policy.tick(1_500)
  t.equal(lines.length, 3)
  t.strictSame(calls, [])
  answers[2]!.give(false)
  await turn()
  t.strictSame(calls, ['revoke'])
})

t.test('a failed check does not end the stream: it is logged, and reauthorize is called again', async t => {
  const failures = [() => {
    throw new Error('away')
  }, async () => {
    throw new Error('away')
  }, () => true]
  const { policy, calls, lines } = make({
    reauthorizeInterval: 100,
    reauthorize: () => (failures.shift() ?? (() => false))()
  })
  for (const now of [1_100, 1_200, 1_300]) {
    policy.tick(now)
    await turn()
    t.strictSame(calls, [])
  }
  t.match(lines, [{ err: { message: 'away' } }, { err: { message: 'away' } }])
  policy.tick(1_400)
  t.strictSame(calls, ['revoke'])
})
