import Fastify from 'fastify'
import t from 'tap'
import { errorHandler } from '../../lib/protocols/error-response.ts'

t.test('E2: an error handler logs the error, and replies with its status and the body of the protocol', async t => {
  const logs: Array<{ level: number, msg: string, err?: { message: string } }> = []
  const stream = { write: (line: string) => { logs.push(JSON.parse(line) as typeof logs[number]) } }
  const app = Fastify({ logger: { stream } })
  t.teardown(() => app.close())
  app.setErrorHandler(errorHandler((error, request) => ({ mine: error.message, id: request.id })))
  const thrown: unknown[] = [Object.assign(new Error('early'), { statusCode: 404 }), new Error('late'), 'text',
    Object.assign(new Error('redirect'), { statusCode: 302 })]
  app.get<{ Params: { n: number } }>('/:n', request => { throw thrown[request.params.n] })
  const replies: unknown[] = []
  for (const n of thrown.keys()) {
    const response = await app.inject(`/${n}`)
    replies.push([response.statusCode, response.json()])
  }
  t.strictSame(replies, [
    [404, { mine: 'early', id: 'req-1' }],
    [500, { mine: 'late', id: 'req-2' }],
    [500, { mine: 'The handler threw "text" (string)', id: 'req-3' }],
    [500, { mine: 'redirect', id: 'req-4' }]
  ])
  t.match(logs.filter(({ err }) => err !== undefined), [{ level: 30, msg: 'early' }, { level: 50, msg: 'late' }, { level: 50 }, { level: 50, msg: 'redirect' }])
})
