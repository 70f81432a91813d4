import t from 'tap'
import type { Cursor } from '../../lib/wire/cursor.ts'
import { resolveStart, type StartPosition } from '../../lib/channel/start-position.ts'
import type { Projection } from '../../lib/channel/projection.ts'
import type { LogState } from '../../lib/log/log.ts'
import { ALL } from '../setup/test-subscriber.ts'

const logState = (input: Partial<LogState> = {}): LogState => ({
  epoch: 'e',
  oldest: 4,
  newest: 10,
  ended: false,
  ...input
})
const createFeed = (newest = 10, state: LogState = logState({ newest })) => ({
  settings: { name: 'news' },
  newest,
  state: () => state
})
const at = (offset: number, epoch = 'e'): Cursor => new Map([['other', 99], [epoch, offset]])
const startAt = (position: number, input: Partial<StartPosition> = {}): StartPosition => ({
  epoch: 'e',
  position,
  notice: undefined,
  snapshot: [],
  complete: false,
  ...input
})

t.test('the start of a subscriber', async t => {
  const reset = (reason: 'malformed' | 'unknown' | 'evicted' | 'ahead') => ({
    notice: { event: 'sse.reset' as const, data: { reason, oldest: 4, newest: 10 } }
  })
  const gap = (dropped: number) => ({ notice: { event: 'sse.gap' as const, data: { dropped } } })
  const emptied = {
    notice: { event: 'sse.reset' as const, data: { reason: 'evicted' as const, oldest: 11, newest: 10 } }
  }
  const state = { data: 'state' }
  const snapshot = () => state
  const oldest = { start: 'earliest' } as const
  const ended = { ended: true }
  const empty = { oldest: 11 }
  const whole = { oldest: 1 }
  const fresh = { oldest: 1, newest: 0 }
  const cases: Array<
    [title: string, Cursor | 'malformed' | undefined, Partial<Projection>, Partial<LogState>, StartPosition]
  > = [
    ['a new client begins with the next event', undefined, {}, {}, startAt(10)],
    ['a new client with start earliest gets the history', undefined, oldest, whole, startAt(0)],
    ['R5: a new client with start earliest gets the number of evicted events', undefined, oldest, {},
      startAt(3, gap(3))],
    ['R5: also if all events are evicted', undefined, oldest, empty, startAt(10, gap(10))],
    ['a new channel has no evicted events', undefined, oldest, fresh, startAt(0)],
    ['a new client with a snapshot gets the snapshot', undefined, { snapshot }, {}, startAt(10, { snapshot: [state] })],
    ['a snapshot replaces the history', undefined, { ...oldest, snapshot }, {}, startAt(10, { snapshot: [state] })],

    ['R2: after its cursor', at(7), {}, {}, startAt(7)],
    ['R2: at the end', at(10), {}, {}, startAt(10)],
    ['R2: right before the oldest event', at(3), {}, {}, startAt(3)],
    ['R2: at the end of a fully evicted history', at(10), {}, empty, startAt(10)],
    ['R2: for any start', at(7), oldest, {}, startAt(7)],
    ['a valid cursor needs no snapshot', at(7), { snapshot }, {}, startAt(7)],
    ['R2: at 0 of a new channel', at(0), {}, fresh, startAt(0)],

    ['R3: evicted', at(2), {}, {}, startAt(10, reset('evicted'))],
    ['R3: evicted, if all events are evicted', at(9), {}, empty, startAt(10, emptied)],
    ['R3: ahead', at(11), {}, {}, startAt(10, reset('ahead'))],
    ['R3: unknown', at(7, 'f'), {}, {}, startAt(10, reset('unknown'))],
    ['R3: malformed', 'malformed', {}, {}, startAt(10, reset('malformed'))],
    ['R3: after a reset the history, with start earliest', 'malformed', oldest, {}, startAt(3, reset('malformed'))],
    ['R3: after a reset the snapshot, if there is one', at(2), { snapshot }, {},
      startAt(10, { ...reset('evicted'), snapshot: [state] })],

    ['R7: at the end of an ended channel there is nothing to send', at(10), {}, ended, startAt(10, { complete: true })],
    ['R7: before the end there is', at(9), {}, ended, startAt(9)],
    ['R7: a new client with start latest gets nothing', undefined, {}, ended, startAt(10, { complete: true })],
    ['R7: with start earliest it gets the history', undefined, oldest, { ...ended, ...whole }, startAt(0)],
    ['R7: or nothing, if there never was an event', undefined, oldest, { ...ended, ...fresh },
      startAt(0, { complete: true })],
    ['R7: or the number of evicted events', undefined, oldest, { ...ended, ...empty }, startAt(10, gap(10))],
    ['R7: the snapshot of an ended channel is sent', undefined, { snapshot }, ended,
      startAt(10, { snapshot: [state] })],
    ['R7: a reset is sent', at(11), {}, ended, startAt(10, reset('ahead'))]
  ]
  for (const [title, cursor, projection, state, expected] of cases) {
    const input = logState(state)
    t.strictSame(resolveStart(createFeed(input.newest), input, { ...ALL, ...projection }, cursor), expected, title)
  }
})

t.test('a snapshot is one event, several, or none', async t => {
  const one = { data: 1 }
  const cases: Array<[unknown, unknown[]]> = [[one, [one]], [[one, one], [one, one]], [[], []], [undefined, []], [null,
    []], ['text', ['text']], [[null], [null]]]
  for (const [state, snapshot] of cases) {
    t.strictSame(resolveStart(createFeed(), logState(), { ...ALL, snapshot: () => state }, undefined),
      startAt(10, { snapshot }))
    t.strictSame(await resolveStart(createFeed(), logState(), { ...ALL, snapshot: async () => state }, undefined),
      startAt(10, { snapshot }))
  }
})

t.test('a synchronous snapshot has the state of this moment, even if the state of the log is older', async t => {
  const now = createFeed(10)
  const snapshot = (): unknown => {
    // The snapshot publishes.
    now.newest = 12
    return { data: 'state' }
  }
  t.equal((await resolveStart(now, logState(), { ...ALL, snapshot }, undefined)).position, 12)
})

t.test('events published after the call of an asynchronous snapshot follow it', async t => {
  const now = createFeed(11)
  const state = { data: 'state' }
  const snapshot = async (): Promise<unknown> => {
    now.newest = 20
    return state
  }
  t.strictSame(await resolveStart(now, logState(), { ...ALL, snapshot }, undefined), startAt(11, { snapshot: [state] }))
})

t.test('a snapshot may be any thenable, such as the query of a database client', async t => {
  const state = { data: 'state' }
  const thenable: PromiseLike<unknown> = { then: (...callbacks) => Promise.resolve(state).then(...callbacks) }
  t.strictSame(await resolveStart(createFeed(), logState(), { ...ALL, snapshot: () => thenable }, undefined),
    startAt(10, { snapshot: [state] }))
})

t.test('R2: the id of a snapshot is the position of the last event in it', async t => {
  for (const offset of [0, 3, 7, 10]) {
    const snapshot = [{ data: 1, id: 'e-99' }, { data: 2, id: `other-5.e-${offset}` }]
    t.strictSame(resolveStart(createFeed(), logState(), { ...ALL, snapshot: () => snapshot }, undefined),
      startAt(offset, { snapshot }), 'the last event')
    t.strictSame(await resolveStart(createFeed(), logState(), { ...ALL, snapshot: async () => snapshot }, undefined),
      startAt(offset, { snapshot }))
  }
  t.equal(
    (await resolveStart(createFeed(12), logState(), { ...ALL, snapshot: () => ({ data: 1, id: 'e-12' }) }, undefined))
      .position,
    12,
    'newer than the state of the log'
  )
})

t.test('R2: the id of a snapshot may be of an event or an epoch that this process does not know yet', async t => {
  const cases: Array<[id: string, state: LogState, epoch: string, position: number]> = [
    ['e-12', logState({ newest: 12 }), 'e', 12],
    ['e-11', logState({ newest: 12 }), 'e', 11],
    ['f-1', logState({ epoch: 'f', newest: 2 }), 'f', 1]
  ]
  for (const [id, later, epoch, position] of cases) {
    const snapshot = { data: 1, id }
    for (const input of [() => snapshot, async () => snapshot]) {
      t.strictSame(await resolveStart(createFeed(10, later), logState(), { ...ALL, snapshot: input }, undefined), {
        ...startAt(position, { snapshot: [snapshot] }),
        epoch
      })
    }
  }
})

t.test('an id of a snapshot that is no position in this channel is an error', async t => {
  for (const id of ['e-11', 'f-1', 'nonsense', '', null, 5, {}]) {
    const message = /^The snapshot of the channel 'news' returned an id that is not a position in it: /
    await t.rejects(
      async () => resolveStart(createFeed(), logState(), { ...ALL, snapshot: () => ({ data: 1, id }) }, undefined),
      { code: 'FST_SSE_SNAPSHOT', message }
    )
    await t.rejects(
      async () =>
        resolveStart(createFeed(), logState(), { ...ALL, snapshot: async () => ({ data: 1, id }) }, undefined),
      { code: 'FST_SSE_SNAPSHOT', message }
    )
  }
})

t.test('an error of a snapshot is thrown', async t => {
  const error = new Error('no state')
  t.throws(() =>
    resolveStart(createFeed(), logState(), {
      ...ALL,
      snapshot: () => {
        throw error
      }
    }, undefined), error)
  await t.rejects(async () =>
    resolveStart(createFeed(), logState(), {
      ...ALL,
      snapshot: async () => {
        throw error
      }
    }, undefined), error)
})
