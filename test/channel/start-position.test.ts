import t from 'tap'
import type { Cursor } from '../../lib/wire/cursor.ts'
import { resolveStart, type StartPosition } from '../../lib/channel/start-position.ts'
import type { Projection } from '../../lib/channel/projection.ts'
import type { LogState } from '../../lib/log/log.ts'
import { ALL } from '../setup/party.ts'

const headOf = (given: Partial<LogState> = {}): LogState => ({ epoch: 'e', oldest: 4, newest: 10, ended: false, ...given })
const place = (newest = 10, head: LogState = headOf({ newest })) => ({ settings: { name: 'news' }, newest, state: () => head })
const at = (offset: number, epoch = 'e'): Cursor => new Map([['other', 99], [epoch, offset]])
const opening = (position: number, given: Partial<StartPosition> = {}): StartPosition => ({ epoch: 'e', position, notice: undefined, snapshot: [], over: false, ...given })

t.test('where a subscriber begins', async t => {
  const reset = (reason: 'malformed' | 'unknown' | 'evicted' | 'ahead') => ({ notice: { event: 'sse.reset' as const, data: { reason, oldest: 4, newest: 10 } } })
  const gap = (dropped: number) => ({ notice: { event: 'sse.gap' as const, data: { dropped } } })
  const emptied = { notice: { event: 'sse.reset' as const, data: { reason: 'evicted' as const, oldest: 11, newest: 10 } } }
  const state = { data: 'state' }
  const snapshot = () => state
  const oldest = { start: 'earliest' } as const
  const ended = { ended: true }
  const empty = { oldest: 11 }
  const whole = { oldest: 1 }
  const fresh = { oldest: 1, newest: 0 }
  const cases: Array<[title: string, Cursor | 'malformed' | undefined, Partial<Projection>, Partial<LogState>, StartPosition]> = [
    ['a newcomer begins with what comes next', undefined, {}, {}, opening(10)],
    ['a newcomer that wants the oldest gets the history', undefined, oldest, whole, opening(0)],
    ['R5: a newcomer that wants the oldest is told how much of it is gone', undefined, oldest, {}, opening(3, gap(3))],
    ['R5: and when all of it is gone', undefined, oldest, empty, opening(10, gap(10))],
    ['a new channel has no oldest that could be gone', undefined, oldest, fresh, opening(0)],
    ['a newcomer with a snapshot gets the state', undefined, { snapshot }, {}, opening(10, { snapshot: [state] })],
    ['the state stands for the history', undefined, { ...oldest, snapshot }, {}, opening(10, { snapshot: [state] })],

    ['R2: behind its cursor', at(7), {}, {}, opening(7)],
    ['R2: at the end', at(10), {}, {}, opening(10)],
    ['R2: right before the oldest', at(3), {}, {}, opening(3)],
    ['R2: at the end of a history that is all gone', at(10), {}, empty, opening(10)],
    ['R2: whatever its start', at(7), oldest, {}, opening(7)],
    ['a cursor that holds needs no state', at(7), { snapshot }, {}, opening(7)],
    ['R2: at 0 of a new channel', at(0), {}, fresh, opening(0)],

    ['R3: evicted', at(2), {}, {}, opening(10, reset('evicted'))],
    ['R3: evicted, when all of it is gone', at(9), {}, empty, opening(10, emptied)],
    ['R3: ahead', at(11), {}, {}, opening(10, reset('ahead'))],
    ['R3: unknown', at(7, 'f'), {}, {}, opening(10, reset('unknown'))],
    ['R3: malformed', 'malformed', {}, {}, opening(10, reset('malformed'))],
    ['R3: after a reset the history, where that is the start', 'malformed', oldest, {}, opening(3, reset('malformed'))],
    ['R3: after a reset the state, where there is one', at(2), { snapshot }, {}, opening(10, { ...reset('evicted'), snapshot: [state] })],

    ['R7: at the end of an ended channel there is nothing to come', at(10), {}, ended, opening(10, { over: true })],
    ['R7: before it there is', at(9), {}, ended, opening(9)],
    ['R7: nor is there for a newcomer that wants what comes next', undefined, {}, ended, opening(10, { over: true })],
    ['R7: one that wants the oldest gets it', undefined, oldest, { ...ended, ...whole }, opening(0)],
    ['R7: or nothing, where there never was anything', undefined, oldest, { ...ended, ...fresh }, opening(0, { over: true })],
    ['R7: or is told that it is gone', undefined, oldest, { ...ended, ...empty }, opening(10, gap(10))],
    ['R7: the state of an ended channel is something', undefined, { snapshot }, ended, opening(10, { snapshot: [state] })],
    ['R7: and so is a reset', at(11), {}, ended, opening(10, reset('ahead'))]
  ]
  for (const [title, cursor, selection, head, expected] of cases) {
    const given = headOf(head)
    t.strictSame(resolveStart(place(given.newest), given, { ...ALL, ...selection }, cursor), expected, title)
  }
})

t.test('a snapshot is one event, several, or none', async t => {
  const one = { data: 1 }
  const cases: Array<[unknown, unknown[]]> = [[one, [one]], [[one, one], [one, one]], [[], []], [undefined, []], [null, []], ['text', ['text']], [[null], [null]]]
  for (const [state, snapshot] of cases) {
    t.strictSame(resolveStart(place(), headOf(), { ...ALL, snapshot: () => state }, undefined), opening(10, { snapshot }))
    t.strictSame(await resolveStart(place(), headOf(), { ...ALL, snapshot: async () => state }, undefined), opening(10, { snapshot }))
  }
})

t.test('the state of a function that answers at once is that of this moment, also where the log is known of later', async t => {
  const now = place(10)
  const snapshot = (): unknown => {
    // It publishes.
    now.newest = 12
    return { data: 'state' }
  }
  t.equal((await resolveStart(now, headOf(), { ...ALL, snapshot }, undefined)).position, 12)
})

t.test('what came since a state was asked for with a promise is still to come', async t => {
  const now = place(11)
  const state = { data: 'state' }
  const snapshot = async (): Promise<unknown> => {
    now.newest = 20
    return state
  }
  t.strictSame(await resolveStart(now, headOf(), { ...ALL, snapshot }, undefined), opening(11, { snapshot: [state] }))
})

t.test('the state may be brought by any thenable, as the query of a database client is one', async t => {
  const state = { data: 'state' }
  const thenable: PromiseLike<unknown> = { then: (...callbacks) => Promise.resolve(state).then(...callbacks) }
  t.strictSame(await resolveStart(place(), headOf(), { ...ALL, snapshot: () => thenable }, undefined), opening(10, { snapshot: [state] }))
})

t.test('R2: the id of a state says which events are in it', async t => {
  for (const offset of [0, 3, 7, 10]) {
    const snapshot = [{ data: 1, id: 'e-99' }, { data: 2, id: `other-5.e-${offset}` }]
    t.strictSame(resolveStart(place(), headOf(), { ...ALL, snapshot: () => snapshot }, undefined), opening(offset, { snapshot }), 'the last of them')
    t.strictSame(await resolveStart(place(), headOf(), { ...ALL, snapshot: async () => snapshot }, undefined), opening(offset, { snapshot }))
  }
  t.equal((await resolveStart(place(12), headOf(), { ...ALL, snapshot: () => ({ data: 1, id: 'e-12' }) }, undefined)).position, 12, 'newer than the head that was read')
})

t.test('R2: the id of a state may be of an event, or an epoch, that has not come to us yet', async t => {
  const cases: Array<[id: string, head: LogState, epoch: string, position: number]> = [
    ['e-12', headOf({ newest: 12 }), 'e', 12],
    ['e-11', headOf({ newest: 12 }), 'e', 11],
    ['f-1', headOf({ epoch: 'f', newest: 2 }), 'f', 1]
  ]
  for (const [id, later, epoch, position] of cases) {
    const snapshot = { data: 1, id }
    for (const given of [() => snapshot, async () => snapshot]) {
      t.strictSame(await resolveStart(place(10, later), headOf(), { ...ALL, snapshot: given }, undefined), { ...opening(position, { snapshot: [snapshot] }), epoch })
    }
  }
})

t.test('an id of a state that is no position in this channel is an error', async t => {
  for (const id of ['e-11', 'f-1', 'nonsense', '', null, 5, {}]) {
    const message = /^The snapshot of the channel 'news' returned an id that is not a position in it: /
    await t.rejects(async () => resolveStart(place(), headOf(), { ...ALL, snapshot: () => ({ data: 1, id }) }, undefined), { code: 'FST_SSE_SNAPSHOT', message })
    await t.rejects(async () => resolveStart(place(), headOf(), { ...ALL, snapshot: async () => ({ data: 1, id }) }, undefined), { code: 'FST_SSE_SNAPSHOT', message })
  }
})

t.test('what a snapshot throws is thrown', async t => {
  const error = new Error('no state')
  t.throws(() => resolveStart(place(), headOf(), { ...ALL, snapshot: () => { throw error } }, undefined), error)
  await t.rejects(async () => resolveStart(place(), headOf(), { ...ALL, snapshot: async () => { throw error } }, undefined), error)
})
