import t from 'tap'
import { codeOf, isMissing, isTransient, LayoutError, toLogError } from '../../../lib/log/postgres/log-error.ts'

const refused = (code: string, message = ''): Error => Object.assign(new Error(message), { code, severity: 'ERROR' })

t.test('errors of connections, conflicts and restarts are transient, refusals are not', async t => {
  for (const code of ['08006', '08P01', '40001', '40P01', '53300', '57P01', '57P03', '57P05', '25006', '25P03',
    '25P04', '55P03', '57014']) {
    t.ok(isTransient(refused(code)), code)
  }
  for (const error of [Object.assign(new Error(), { code: 'EPIPE' }), new Error('late'), undefined]) t.ok(isTransient(error))
  for (const error of [refused('42501'), refused('22021'), refused('53100'), refused('28P01'), new LayoutError('x')]) {
    t.notOk(isTransient(error))
  }
  t.equal(codeOf(Object.assign(new Error(), { code: 'EPIPE' })), undefined)
  t.equal(codeOf({ severity: 'ERROR', code: 1 }), undefined)
  for (const code of ['42P01', '3F000', '42883']) t.ok(isMissing(refused(code)))
  t.notOk(isMissing(refused('42501')))
  t.notOk(isMissing(new Error()))
})

t.test('an error has a message of this package, and its cause', async t => {
  const cases = [
    [new LayoutError('holds other data'), 'FST_SSE_LOG_FOREIGN',
      "The schema of the channel 'name' holds other data: nothing was changed"],
    [refused('P0001', 'ENDED a channel has ended'), 'FST_SSE_CHANNEL_ENDED', /./],
    [refused('P0001', 'other'), 'FST_SSE_LOG_UNAVAILABLE', /cannot be used/],
    [refused('53100'), 'FST_SSE_LOG_UNAVAILABLE', /has no space left: nothing was appended/],
    [new Error('secret'), 'FST_SSE_LOG_UNAVAILABLE', /^The event log of the channel 'name' cannot be used$/]
  ] as const
  for (const [cause, code, message] of cases) t.match(toLogError('name', cause), { code, message, cause })
})
