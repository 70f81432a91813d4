import type Anthropic from '@anthropic-ai/sdk'
import Fastify from 'fastify'
import t from 'tap'
import sse, { named } from '../../lib/index.ts'
import { messageEvents, messageOptions } from '../../lib/protocols/anthropic.ts'
import { DocumentPrograms } from '../setup/document-programs.ts'
import { listen } from '../setup/listen.ts'

const document = new DocumentPrograms('lib/protocols/anthropic.md')

document.run({
  Messages: [async (t, app) => {
    t.equal(await document.runClient('Messages', await listen(t, app)), 'Once upon a time\n')
  }, async (t, app) => {
    // The proxy of the document, in front of a server.
    const origin = Fastify()
    await origin.register(sse)
    origin.post('/v1/messages', { schema: { sse: messageEvents } }, (_request, reply) =>
      reply.sse(named([{ type: 'message_stop', x: null } as { type: 'message_stop' }]), messageOptions))
    const { anthropic } = await document.load<{ anthropic: Anthropic }>('UPSTREAM_URL')
    anthropic.baseURL = `http://127.0.0.1:${await listen(t, origin)}`
    const { body } = await app.inject({ method: 'POST', url: '/v1/messages', payload: { model: 'm', max_tokens: 1 } })
    t.equal(body, 'event: message_stop\ndata: {"type":"message_stop","x":null}\n\n')
  }]
})

t.test('the error of the document is the error of a message', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  app.get('/', { schema: { sse: messageEvents } }, (_request, reply) => reply.sse(named(async function * () {
    yield { type: 'message_stop' } as const
    throw new Error('secret')
  }), messageOptions))
  const { body } = await app.inject('/')
  t.equal(body.slice(body.indexOf('event: error')), document.block('Errors', 'text'))
})
