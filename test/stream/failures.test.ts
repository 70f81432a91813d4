import { setImmediate as turn } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import type { FastifyReply } from 'fastify'
import t from 'tap'
import { Failures, type FailingStream } from '../../lib/stream/failures.ts'
import { StreamRecord } from '../../lib/stream/stream-record.ts'
import { compileContract, freeContract, type Contract } from '../../lib/contract/contract.ts'
import type { AnyEvent } from '../../lib/contract/event-types.ts'
import { resolveOptions, type SseOptions } from '../../lib/stream/options.ts'
import { loadTypeBoxes } from '../../lib/schema/packages.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'
import { Statistics } from '../../lib/metrics/statistics.ts'

await loadTypeBoxes()

const cause = new Error('the text')

interface Made { failures: Failures, logged: Array<[level: string, err: unknown, text: string]>, request: unknown }

function make (input: SseOptions = {}, contract: Contract = freeContract): Made {
  const logged: Made['logged'] = []
  const to = (level: string) => ({ err }: { err: unknown }, text: string) => { logged.push([level, err, text]) }
  const request = { id: 'req-1' }
  const reply = { request, log: { warn: to('warn'), error: to('error') } } as unknown as FastifyReply
  const record = new StreamRecord({
    reply,
    route: { name: 'GET /', counters: new Statistics().route('GET /') },
    key: undefined,
    time: { now: 0 },
    counted: false
  })
  return {
    failures: new Failures(
      { reply, options: resolveOptions(input), contract, record } as Partial<FailingStream> as FailingStream
    ),
    logged,
    request
  }
}

/** Options that TypeScript would reject. */
const loosely = (options: object): SseOptions => options

t.test('C2: an event that cannot be sent is an error, or is dropped with a log line', async t => {
  const cases: Array<[SseOptions['onInvalid'], string, Made['logged']]> = [
    [undefined, 'error', []],
    ['error', 'error', []],
    ['skip', 'skip', [['warn', cause, 'sse event left out']]],
    [() => 'error', 'error', []],
    [() => 'skip', 'skip', [['warn', cause, 'sse event left out']]]
  ]
  for (const [onInvalid, choice, lines] of cases) {
    const { failures, logged } = make({ onInvalid })
    t.equal(failures.choose(cause, { data: 1 }), choice)
    t.strictSame(logged, lines)
  }
})

t.test('C2: onInvalid gets the error and the event, and its own error is thrown', async t => {
  const seen: unknown[] = []
  const event = { data: 1 }
  make({ onInvalid: (...args) => { seen.push(...args); return 'error' } }).failures.choose(cause, event)
  t.ok(seen.length === 2 && seen[0] === cause && seen[1] === event)
  const thrown = new Error('from the callback')
  t.throws(() => make({ onInvalid: () => { throw thrown } }).failures.choose(cause, event), thrown)
})

t.test('E2: the last event is problem JSON with the id of the request, without the error message', async t => {
  const { failures, logged } = make()
  t.equal(failures.errorFrame(cause),
    'event: error\ndata: {"type":"about:blank","title":"Internal Server Error","status":500,"instance":"req-1"}\n\n')
  t.strictSame(logged, [])
})

t.test('E2: errorEvent returns another event, or none', async t => {
  const cases: Array<[SseOptions['errorEvent'], string]> = [
    [null, ''],
    [() => null, ''],
    [(() => undefined) as unknown as () => null, ''],
    [() => ({ event: 'failed', data: 'sorry', id: 7 }), 'event: failed\nid: 7\ndata: sorry\n\n'],
    [() => ({ comment: 'bye' }), ': bye\n\n']
  ]
  for (const [errorEvent, frame] of cases) {
    const { failures, logged } = make({ errorEvent })
    t.equal(failures.errorFrame(cause), frame)
    t.strictSame(logged, [])
  }
})

t.test('E2: errorEvent gets the error and the request', async t => {
  const seen: unknown[] = []
  const { failures, request } = make({ errorEvent: (...args) => { seen.push(...args); return null } })
  failures.errorFrame(cause)
  t.ok(seen.length === 2 && seen[0] === cause && seen[1] === request)
})

t.test('C1: a last event that the map declares is checked and stripped by its schema, any other is free', async t => {
  const contract = compileContract({ error: Type.Object({ code: Type.Integer() }) }, 'GET /', schemaCompiler({}))
  const frameOf = (event: AnyEvent) => {
    const { failures, logged } = make({ errorEvent: () => event }, contract)
    return [failures.errorFrame(cause),
      ...logged.map(([level, err, text]) => [level, (err as { code: string }).code, text])]
  }
  t.strictSame(frameOf({ event: 'error', data: { code: 7, secret: 'x' } }), ['event: error\ndata: {"code":7}\n\n'])
  t.strictSame(frameOf({ event: 'other', data: { code: 'x' } }), ['event: other\ndata: {"code":"x"}\n\n'])
  t.strictSame(frameOf({ event: 'error', data: { code: 'x' } }), ['', ['error', 'FST_SSE_DATA',
    'sse error event could not be made']])
})

t.test('E2: if errorEvent throws or returns no event, no event is sent and the error is logged', async t => {
  const thrown = new Error('from the callback')
  const throwing = make({ errorEvent: () => { throw thrown } })
  t.equal(throwing.failures.errorFrame(cause), '')
  t.strictSame(throwing.logged, [['error', thrown, 'sse error event could not be made']])
  for (const made of ['text', 7, [], {}]) {
    const { failures, logged } = make(loosely({ errorEvent: () => made }))
    t.equal(failures.errorFrame(cause), '')
    t.strictSame(logged.map(([level, err, text]) => [level, (err as { code: string }).code, text]), [['error',
      'FST_SSE_EVENT', 'sse error event could not be made']])
  }
})

t.test('L10: a callback that is async by mistake ends no stream, and its rejection is logged', async t => {
  const thrown = new Error('from the callback')
  const fails = async (): Promise<never> => { throw thrown }
  const calls: Array<[string, SseOptions, (failures: Failures) => unknown]> = [
    ['onInvalid', loosely({ onInvalid: fails }), failures => failures.choose(cause, {})],
    ['errorEvent', loosely({ errorEvent: fails }), failures => failures.errorFrame(cause)]
  ]
  for (const [name, options, call] of calls) {
    const { failures, logged } = make(options)
    call(failures)
    await turn()
    t.ok(logged.some(([level, err, text]) => level === 'error' && err === thrown && text === 'sse callback failed'),
      name)
  }
})
