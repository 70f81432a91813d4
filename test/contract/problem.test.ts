import t from 'tap'
import { problemEvent } from '../../lib/contract/problem.ts'

const fail = (fields: object): Error => Object.assign(new Error('the text'), fields)

t.test('E2: an error becomes an error event with RFC 9457 problem details', async t => {
  t.strictSame(problemEvent(new Error('the text'), 'req-1'), {
    event: 'error',
    data: { type: 'about:blank', title: 'Internal Server Error', status: 500, instance: 'req-1' }
  })
})

t.test('E2: the message of an error is sent only with a status from 400 to 499', async t => {
  const cases: Array<[object, number, string, boolean]> = [
    [{ statusCode: 400 }, 400, 'Bad Request', true],
    [{ statusCode: 404 }, 404, 'Not Found', true],
    [{ statusCode: 429 }, 429, 'Too Many Requests', true],
    [{ statusCode: 500 }, 500, 'Internal Server Error', false],
    [{ statusCode: 503 }, 503, 'Service Unavailable', false]
  ]
  for (const [fields, status, title, told] of cases) {
    const problem = { type: 'about:blank', title, status, instance: 'req-1' }
    t.strictSame(problemEvent(fail(fields), 'req-1'), {
      event: 'error',
      data: told ? { ...problem, detail: 'the text' } : problem
    })
  }
})

t.test('E2: an invalid error status becomes 500', async t => {
  const strange = [{ statusCode: 200 }, { statusCode: 302 }, { statusCode: 399 }, { statusCode: 499 }, {
    statusCode: 600
  }, { statusCode: 404.5 }, { statusCode: NaN }, { statusCode: '404' }, { statusCode: null }, {
    code: 'ENOENT',
    errno: -2
  }]
  for (const fields of strange) {
    t.strictSame(problemEvent(fail(fields), 'req-1').data, {
      type: 'about:blank',
      title: 'Internal Server Error',
      status: 500,
      instance: 'req-1'
    }, JSON.stringify(fields))
  }
})

t.test('E2: the status of a failed outgoing request is not used, and its message is not sent', async t => {
  // HTTP clients and SDKs set `status` to the status of the response that they received.
  t.strictSame(problemEvent(fail({ status: 401 }), 'req-1').data, {
    type: 'about:blank',
    title: 'Internal Server Error',
    status: 500,
    instance: 'req-1'
  })
})
