import { setImmediate as turn } from 'node:timers/promises'
import { Type } from '@sinclair/typebox'
import type { FastifyReply } from 'fastify'
import t from 'tap'
import { Callbacks } from '../../lib/stream/callbacks.ts'
import { compileContract, freeContract, type Contract } from '../../lib/contract/contract.ts'
import type { AnyEvent } from '../../lib/contract/event-types.ts'
import type { CloseReport } from '../../lib/lifecycle.ts'
import { resolveOptions, type SseOptions } from '../../lib/stream/options.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'
import { Scope } from '../../lib/scope.ts'

const report: CloseReport = { reason: 'complete', duration: 1, events: 2, bytes: 3, lastEventId: undefined }
const cause = new Error('the text')

interface Made { callbacks: Callbacks, logged: Array<[level: string, err: unknown, text: string]>, request: unknown }

function make (options: SseOptions = {}, contract: Contract = freeContract): Made {
  const logged: Made['logged'] = []
  const to = (level: string) => ({ err }: { err: unknown }, text: string) => { logged.push([level, err, text]) }
  const request = { id: 'req-1' }
  const reply = { request, log: { warn: to('warn'), error: to('error') } } as unknown as FastifyReply
  return { callbacks: new Callbacks(reply, resolveOptions(options), contract, new Scope()), logged, request }
}

/** What users do who do not heed the types. */
const loosely = (options: object): SseOptions => options

t.test('C2: an event that cannot be sent is an error, or left out with a line in the log', async t => {
  const cases: Array<[SseOptions['onInvalid'], string, Made['logged']]> = [
    [undefined, 'error', []],
    ['error', 'error', []],
    ['skip', 'skip', [['warn', cause, 'sse event left out']]],
    [() => 'error', 'error', []],
    [() => 'skip', 'skip', [['warn', cause, 'sse event left out']]]
  ]
  for (const [onInvalid, choice, lines] of cases) {
    const { callbacks, logged } = make({ onInvalid })
    t.equal(callbacks.choose(cause, { data: 1 }), choice)
    t.strictSame(logged, lines)
  }
})

t.test('C2: onInvalid is given the error and the event, and what it throws is thrown', async t => {
  const seen: unknown[] = []
  const event = { data: 1 }
  make({ onInvalid: (...given) => { seen.push(...given); return 'error' } }).callbacks.choose(cause, event)
  t.ok(seen.length === 2 && seen[0] === cause && seen[1] === event)
  const thrown = new Error('from the callback')
  t.throws(() => make({ onInvalid: () => { throw thrown } }).callbacks.choose(cause, event), thrown)
})

t.test('E2: the last event is problem JSON with the id of the request, and without the text', async t => {
  const { callbacks, logged } = make()
  t.equal(callbacks.errorFrame(cause), 'event: error\ndata: {"type":"about:blank","title":"Internal Server Error","status":500,"instance":"req-1"}\n\n')
  t.strictSame(logged, [])
})

t.test('E2: errorEvent makes another, or none', async t => {
  const cases: Array<[SseOptions['errorEvent'], string]> = [
    [null, ''],
    [() => null, ''],
    [(() => undefined) as unknown as () => null, ''],
    [() => ({ event: 'failed', data: 'sorry', id: 7 }), 'event: failed\nid: 7\ndata: sorry\n\n'],
    [() => ({ comment: 'bye' }), ': bye\n\n']
  ]
  for (const [errorEvent, frame] of cases) {
    const { callbacks, logged } = make({ errorEvent })
    t.equal(callbacks.errorFrame(cause), frame)
    t.strictSame(logged, [])
  }
})

t.test('E2: errorEvent is given the error and the request', async t => {
  const seen: unknown[] = []
  const { callbacks, request } = make({ errorEvent: (...given) => { seen.push(...given); return null } })
  callbacks.errorFrame(cause)
  t.ok(seen.length === 2 && seen[0] === cause && seen[1] === request)
})

t.test('C1: a last event that the map declares is checked and stripped by it, any other is free', async t => {
  const contract = compileContract({ error: Type.Object({ code: Type.Integer() }) }, 'GET /', schemaCompiler({}))
  const frameOf = (event: AnyEvent) => {
    const { callbacks, logged } = make({ errorEvent: () => event }, contract)
    return [callbacks.errorFrame(cause), ...logged.map(([level, err, text]) => [level, (err as { code: string }).code, text])]
  }
  t.strictSame(frameOf({ event: 'error', data: { code: 7, secret: 'x' } }), ['event: error\ndata: {"code":7}\n\n'])
  t.strictSame(frameOf({ event: 'other', data: { code: 'x' } }), ['event: other\ndata: {"code":"x"}\n\n'])
  t.strictSame(frameOf({ event: 'error', data: { code: 'x' } }), ['', ['error', 'FST_SSE_DATA', 'sse error event could not be made']])
})

t.test('E2: an errorEvent that throws or makes no event leaves none, and a line in the log', async t => {
  const thrown = new Error('from the callback')
  const throwing = make({ errorEvent: () => { throw thrown } })
  t.equal(throwing.callbacks.errorFrame(cause), '')
  t.strictSame(throwing.logged, [['error', thrown, 'sse error event could not be made']])
  for (const made of ['text', 7, [], {}]) {
    const { callbacks, logged } = make(loosely({ errorEvent: () => made }))
    t.equal(callbacks.errorFrame(cause), '')
    t.strictSame(logged.map(([level, err, text]) => [level, (err as { code: string }).code, text]), [['error', 'FST_SSE_EVENT', 'sse error event could not be made']])
  }
})

t.test('onClose is given the report, and what it throws is in the log', async t => {
  const seen: unknown[] = []
  make({ onClose: given => { seen.push(given) } }).callbacks.closed(report)
  t.strictSame(seen, [report])
  make().callbacks.closed(report)
  const thrown = new Error('from the callback')
  const { callbacks, logged } = make({ onClose: () => { throw thrown } })
  callbacks.closed(report)
  t.strictSame(logged, [['error', thrown, 'sse callback failed']])
})

t.test('L10: a callback that is async by mistake ends nothing: what it rejects with is in the log', async t => {
  const thrown = new Error('from the callback')
  const fails = async (): Promise<never> => { throw thrown }
  const calls: Array<[string, SseOptions, (callbacks: Callbacks) => unknown]> = [
    ['onClose', loosely({ onClose: fails }), callbacks => callbacks.closed(report)],
    ['onInvalid', loosely({ onInvalid: fails }), callbacks => callbacks.choose(cause, {})],
    ['errorEvent', loosely({ errorEvent: fails }), callbacks => callbacks.errorFrame(cause)]
  ]
  for (const [name, options, call] of calls) {
    const { callbacks, logged } = make(options)
    call(callbacks)
    await turn()
    t.ok(logged.some(([level, err, text]) => level === 'error' && err === thrown && text === 'sse callback failed'), name)
  }
})
