import OpenAI from 'openai'
import t from 'tap'
import Fastify from 'fastify'
import sse, { asData } from '../../lib/index.ts'
import { chatCompletionEvents, chatCompletionOptions } from '../../lib/protocols/openai.ts'
import { DocumentPrograms } from '../setup/document-programs.ts'
import { listen } from '../setup/listen.ts'

const document = new DocumentPrograms('lib/protocols/openai.md')

document.run({
  'Chat completions': [async (t, app) => {
    t.equal(await document.runClient('Chat completions', await listen(t, app)), 'Once upon a time\n')
  }, async (t, app) => {
    // The proxy of the document, in front of a server.
    const origin = Fastify()
    await origin.register(sse)
    origin.post('/v1/chat/completions', { schema: { sse: chatCompletionEvents } }, (_request, reply) =>
      reply.sse(asData([{ choices: [], usage: { total_tokens: 1 }, x: null } as never]), chatCompletionOptions))
    const { openai } = await document.load<{ openai: OpenAI }>('UPSTREAM_URL')
    openai.baseURL = `http://127.0.0.1:${await listen(t, origin)}/v1`
    const { body } = await app.inject({ method: 'POST', url: '/v1/chat/completions', payload: { model: 'm' } })
    t.equal(body, 'data: {"choices":[],"usage":{"total_tokens":1},"x":null}\n\ndata: [DONE]\n\n')
  }],
  Responses: [async (t, app) => {
    const client = new OpenAI({ baseURL: `http://127.0.0.1:${await listen(t, app)}/v1`, apiKey: 'none' })
    t.equal((await client.responses.stream({ model: 'm', input: 'x' }).finalResponse()).output_text, 'Once upon')
  }]
})

t.test('the error of the document is the error of a response', async t => {
  const { responseEvents, responseOptions, responses } = await import('../../lib/protocols/openai.ts')
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  app.get('/', { schema: { sse: responseEvents } }, (_request, reply) => reply.sse(responses(async function * () {
    yield { type: 'response.created', response: {} } as const
    throw new Error('secret')
  }), responseOptions))
  const { body } = await app.inject('/')
  t.equal(body.slice(body.indexOf('event: error')), document.block('Errors', 'text'))
})
