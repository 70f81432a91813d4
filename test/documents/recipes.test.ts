import type { FastifyInstance } from 'fastify'
import { DocumentPrograms } from '../setup/document-programs.ts'

const document = new DocumentPrograms('lib/protocols/recipes.md')

const post = async (app: FastifyInstance, url: string, payload: object): Promise<string> =>
  (await app.inject({ method: 'POST', url, payload })).body
/** The data of a stream of JSON. */
const dataOf = (body: string): unknown[] => body.match(/(?<=^data: ).+$/gm)!.map(text => JSON.parse(text) as unknown)

document.run({
  'AG-UI': [async (t, app) => {
    const events = dataOf(await post(app, '/agent', { threadId: 't', runId: 'r' }))
    t.strictSame(events, [
      { type: 'RUN_STARTED', threadId: 't', runId: 'r' },
      { type: 'TEXT_MESSAGE_START', messageId: 'm1', role: 'assistant' },
      { type: 'TEXT_MESSAGE_CONTENT', messageId: 'm1', delta: 'Once' },
      { type: 'TEXT_MESSAGE_CONTENT', messageId: 'm1', delta: ' upon' },
      { type: 'TEXT_MESSAGE_END', messageId: 'm1' },
      { type: 'RUN_FINISHED', threadId: 't', runId: 'r' }
    ])
  }],
  A2A: [async (t, app) => {
    const call = { jsonrpc: '2.0', id: 7, method: 'SendStreamingMessage', params: { message: { contextId: 'c2' } } }
    const at = { contextId: 'c2' }
    t.match(dataOf(await post(app, '/a2a', call)), [
      { jsonrpc: '2.0', id: 7, result: { task: at } },
      { jsonrpc: '2.0', id: 7, result: { artifactUpdate: { ...at, artifact: { parts: [{ text: 'Once' }] } } } },
      { jsonrpc: '2.0', id: 7, result: { statusUpdate: { ...at, status: { state: 'TASK_STATE_COMPLETED' } } } }
    ])
    t.match(JSON.parse(await post(app, '/a2a', { ...call, method: 'unknown' })), { id: 7, error: { code: -32601 } })
  }],
  'GraphQL over SSE': [async (t, app) => {
    t.equal(await post(app, '/graphql', { query: 'subscription { greeting }' }),
      'event: next\ndata: {"data":{"greeting":"Hi"}}\n\nevent: next\ndata: {"data":{"greeting":"Hello"}}\n\n' +
      'event: complete\ndata: \n\n')
  }]
})
