import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { drain, type Drained } from '../../lib/stream/drain.ts'

/** A stream that records its calls and their times. */
class Noted implements Drained {
  readonly over: Promise<void>
  delay: number | undefined
  endedAt: number | undefined
  cutAt: number | undefined
  leave!: () => void
  readonly #takes: boolean

  /** `takes`: its client takes the end. */
  constructor (takes = true) {
    this.#takes = takes
    this.over = new Promise(resolve => { this.leave = resolve })
  }

  shutdown (delay: number | undefined): void {
    this.delay = delay
    this.endedAt = performance.now()
    if (this.#takes) this.leave()
  }

  destroy (): void {
    this.cutAt ??= performance.now()
    this.leave()
  }
}

const make = (count: number, takes?: boolean): Noted[] => Array.from({ length: count }, () => new Noted(takes))

t.test('L7: streams end one after the other, and clients reconnect at random times within the window after the last end', async t => {
  const streams = make(400)
  const begun = performance.now()
  await drain(streams, [], { shutdownTimeout: 10_000, reconnectWindow: 60_000 })
  const ends = streams.map(({ endedAt }) => endedAt! - begun)
  t.strictSame(ends, [...ends].sort((one, other) => one - other))
  t.ok(ends.at(-1)! >= 380, 'one per millisecond')
  // A busy machine ends them later, and some after their moment. The window is far longer than such a pause.
  const back = streams.map(({ delay, endedAt }) => endedAt! - begun + delay!)
  t.ok(back.every(moment => moment >= 399), 'no client reconnects before the last end is due')
  const sorted = back.map(moment => moment - Math.min(...back)).sort((one, other) => one - other)
  // Kolmogorov and Smirnov: the largest difference between the share of clients that are back and the elapsed share of
  // the window. It exceeds 0.12 in one of 10,000 runs.
  const distance = Math.max(
    ...sorted.map((moment, index) => Math.abs((index + 0.5) / sorted.length - moment / sorted.at(-1)!))
  )
  t.comment(`Kolmogorov–Smirnov distance from an even spread: ${distance.toFixed(3)}`)
  t.ok(distance < 0.12, 'evenly', { distance })
  t.ok(sorted.at(-1)! > 54_000, 'all of the window')
})

t.test('L7: all streams are ended within half of shutdownTimeout', async t => {
  const streams = make(10_000)
  const begun = performance.now()
  await drain(streams, [], { shutdownTimeout: 100, reconnectWindow: 0 })
  t.ok(streams.every(({ endedAt }) => endedAt! - begun < 5_000), 'not a millisecond each')
  t.ok(streams.every(({ delay, cutAt }) => delay === undefined && cutAt === undefined),
    'no client gets a delay, and none is cut off')
})

t.test('L7: a client that does not read the end is cut off one second later, or within shutdownTimeout', async t => {
  const [stuck, patient] = [make(1, false)[0]!, make(1, false)[0]!]
  const begun = performance.now()
  await drain([stuck], [patient], { shutdownTimeout: 4_000, reconnectWindow: 0 })
  // A busy machine may end the stream late, and then cuts it off sooner after its end.
  t.ok(stuck.cutAt! - stuck.endedAt! >= 500)
  t.ok(patient.endedAt! - begun >= 2_500 && patient.cutAt! - patient.endedAt! >= 500)
})

t.test('L7: draining streams are ended shortly before shutdownTimeout, unless they ended by themselves', async t => {
  const [talker, finisher] = [make(1)[0]!, make(1, false)[0]!]
  const draining = drain([], [talker, finisher], { shutdownTimeout: 200, reconnectWindow: 100 })
  await turn()
  t.equal(finisher.endedAt, undefined)
  finisher.leave()
  await draining
  t.ok(talker.delay! >= 0 && talker.delay! <= 100)
})

t.test('L7: without shutdownTimeout all streams end at once', async t => {
  const streams = [...make(100), ...make(1, false)]
  await drain(streams, make(1, false), { shutdownTimeout: 0, reconnectWindow: 0 })
  const ends = streams.map(({ endedAt }) => endedAt!)
  t.ok(ends.every(moment => moment !== undefined))
  t.ok(streams.at(-1)!.cutAt !== undefined)
})
