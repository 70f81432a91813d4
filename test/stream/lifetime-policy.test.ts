import { setImmediate as turn } from 'node:timers/promises'
import type { FastifyRequest } from 'fastify'
import t from 'tap'
import { StreamRecord } from '../../lib/stream/stream-record.ts'
import { resolveOptions, type SseOptions } from '../../lib/stream/options.ts'
import { Statistics } from '../../lib/metrics/statistics.ts'
import { LifetimePolicy } from '../../lib/stream/lifetime-policy.ts'

const request = { method: 'GET', url: '/' } as FastifyRequest

function make (options: SseOptions): { term: LifetimePolicy, told: string[], lines: unknown[] } {
  const told: string[] = []
  const lines: unknown[] = []
  const reply = { request, log: { error: (line: unknown) => lines.push(line) } } as unknown as ConstructorParameters<typeof StreamRecord>[0]['reply']
  const account = new StreamRecord({ reply, route: { name: 'GET /', counters: new Statistics().route('GET /') }, key: undefined, time: { now: 1_000 }, counted: true })
  const term = new LifetimePolicy(resolveOptions(options), account, { end: reason => told.push(reason), revoke: () => told.push('revoke') })
  return { term, told, lines }
}

t.test('a stream ends when its lifetime is over, give or take a tenth', async t => {
  const ends = Array.from({ length: 200 }, () => {
    const { term, told } = make({ maxLifetime: 1_000 })
    let now = 1_000
    while (told.length === 0) term.tick(now += 10)
    t.strictSame(told, ['expired'])
    return now - 1_000
  })
  t.ok(Math.min(...ends) >= 900 && Math.max(...ends) <= 1_110)
  t.ok(Math.max(...ends) - Math.min(...ends) > 100, 'not all together')
})

t.test('it is asked every interval whether it is permitted, first within one, and no ends it', async t => {
  for (const answer of [false, undefined, 0, Promise.resolve(false)]) {
    let asked = 0
    const times: number[] = []
    let now = 1_000
    const { term, told } = make({
      reauthorizeInterval: 100,
      reauthorize: given => {
        t.equal(given, request)
        times.push(now)
        return ++asked < 3 ? true : answer as boolean
      }
    })
    while (now < 1_300) term.tick(now += 10)
    await turn()
    t.strictSame(told, ['revoke'])
    t.ok(times[0]! >= 1_050 && times[0]! <= 1_100)
    t.strictSame(times.slice(0, 3).map(time => time - times[0]!), [0, 100, 200])
  }
})

/** A term whose answers are in the test's hand, in the order in which they were asked for. */
function asking (): ReturnType<typeof make> & { answers: Array<{ give: (permitted: boolean) => void, fail: (error: Error) => void }> } {
  const answers: Array<{ give: (permitted: boolean) => void, fail: (error: Error) => void }> = []
  const made = make({ reauthorizeInterval: 100, reauthorize: () => new Promise((resolve, reject) => { answers.push({ give: resolve, fail: reject }) }) })
  return { ...made, answers }
}

t.test('an answer that takes its time is not asked for twice within the interval', async t => {
  const { term, told, lines, answers } = asking()
  for (let now = 1_100; now < 1_200; now += 10) term.tick(now)
  t.equal(answers.length, 1)
  answers[0]!.give(true)
  await turn()
  term.tick(1_200)
  t.equal(answers.length, 2)
  answers[1]!.give(false)
  await turn()
  t.strictSame([told, lines], [['revoke'], []])
})

t.test('L12: an answer that never comes is none after one interval: that is in the log, and it is asked again', async t => {
  const { term, told, lines, answers } = asking()
  for (const now of [1_100, 1_200, 1_300]) term.tick(now)
  t.equal(answers.length, 3)
  t.match(lines, [{ err: { code: 'FST_SSE_REAUTHORIZE_TIMEOUT', message: 'The promise of reauthorize did not settle within 100 milliseconds: resolve or reject it sooner' } }, { err: { code: 'FST_SSE_REAUTHORIZE_TIMEOUT' } }])
  t.equal(lines.length, 2)
  t.strictSame(told, [])
})

t.test('L12: of answers that come late only a no counts', async t => {
  const { term, told, lines, answers } = asking()
  for (const now of [1_100, 1_200, 1_300]) term.tick(now)
  answers[0]!.give(true)
  answers[1]!.fail(new Error('late'))
  await turn()
  term.tick(1_400)
  t.equal(lines.length, 3, 'the third was still waited for')
  answers[3]!.give(true)
  await turn()
  term.tick(1_500)
  t.equal(lines.length, 3)
  t.strictSame(told, [])
  answers[2]!.give(false)
  await turn()
  t.strictSame(told, ['revoke'])
})

t.test('no answer is not a no: it is in the log, and asked for again', async t => {
  const failures = [() => { throw new Error('away') }, async () => { throw new Error('away') }, () => true]
  const { term, told, lines } = make({ reauthorizeInterval: 100, reauthorize: () => (failures.shift() ?? (() => false))() })
  for (const now of [1_100, 1_200, 1_300]) {
    term.tick(now)
    await turn()
    t.strictSame(told, [])
  }
  t.match(lines, [{ err: { message: 'away' } }, { err: { message: 'away' } }])
  term.tick(1_400)
  t.strictSame(told, ['revoke'])
})
