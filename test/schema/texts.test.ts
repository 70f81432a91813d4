import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t from 'tap'
import sse, { withTexts, type PublishEventOf } from '../../lib/index.ts'
import { connect, type EncodingsOf } from '../../lib/client.ts'
import { validate } from '../../lib/client/validate.ts'
import { schemaCompiler } from '../../lib/schema/schema.ts'
import { splitTexts } from '../../lib/schema/texts.ts'
import { injectStream } from '../../lib/testing.ts'
import { listen } from '../setup/listen.ts'

const chunk = Type.Object({ text: Type.String() })
const events = { message: withTexts(chunk, '[DONE]', '') }

t.test('a schema and its texts', async t => {
  t.strictSame(splitTexts(events.message), { texts: ['[DONE]', ''], schema: chunk })
  for (const schema of [chunk, 'json', undefined, null]) t.strictSame(splitTexts(schema), { texts: undefined, schema })
})

t.test('a route sends texts as they are, and all other data by the schema', async t => {
  const app = Fastify()
  await app.register(sse)
  app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse([
    { data: '' },
    { data: { text: '[DONE]', secret: 1 } as { text: string } },
    { data: '[DONE]' }
  ]))
  // @ts-expect-error no such text
  app.get('/wrong', { schema: { sse: events } }, (_request, reply) => reply.sse([{ data: 'DONE' }]))
  t.equal((await app.inject('/')).body, 'data: \n\ndata: {"text":"[DONE]"}\n\ndata: [DONE]\n\n')
  const wrong = await app.inject('/wrong')
  t.match(wrong.json(), { statusCode: 500, code: 'FST_SSE_DATA' })
})

t.test('the client reads both, with the map, with encodings and with a check; so does the test kit', async t => {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse)
  const channel = app.sse.channel('chunks', { events, start: 'earliest' })
  app.get('/', { schema: { sse: events } }, (_request, reply) => reply.sse(channel))
  const sent: Array<PublishEventOf<typeof events>> = [{ data: '' }, { data: { text: 'a' } }, { data: '[DONE]' }]
  for (const event of sent) await channel.publish(event)
  const url = `http://127.0.0.1:${await listen(t, app)}/`
  const encodings: EncodingsOf<typeof events> = { message: withTexts('json', '[DONE]', '') }
  for (const options of [{ events }, { events, validate }, { events: encodings }]) {
    const stream = connect<typeof events>(url, options)
    const seen: Array<'' | '[DONE]' | { text: string }> = []
    for await (const { event, data } of stream) {
      if (event === 'message' && seen.push(data) === 3) break
    }
    t.strictSame(seen, ['', { text: 'a' }, '[DONE]'])
  }
  const injected = await injectStream(app, { url: '/', events })
  t.strictSame((await injected.take(3)).map(({ data }) => data), ['', { text: 'a' }, '[DONE]'])
  await injected.disconnect()
})

t.test('a loop over a subscription receives both', async t => {
  const app = Fastify()
  await app.register(sse)
  const channel = app.sse.channel('loop', { events, start: 'earliest' })
  await channel.publish({ data: { text: 'a' } })
  await channel.publish({ data: '[DONE]' })
  await channel.end()
  const seen = []
  for await (const { data } of channel.subscribe()) seen.push(data)
  t.strictSame(seen, [{ text: 'a' }, '[DONE]'])
  await app.close()
})

t.test('invalid texts are refused at start-up', async t => {
  const refusal = async (schema: unknown): Promise<unknown> => {
    const app = Fastify()
    await app.register(sse)
    app.get('/', { schema: { sse: { message: schema } } as never }, async () => {})
    return await app.ready().then(() => undefined, ({ code, message }: NodeJS.ErrnoException) => [code, message])
  }
  t.match(await refusal(withTexts(chunk, '1')), ['FST_SSE_SCHEMA', /the text "1" \(string\) is JSON: a client could not/])
  t.match(await refusal(withTexts(chunk)), ['FST_SSE_SCHEMA', /withTexts takes a schema and strings/])
  t.match(await refusal(withTexts(chunk, 1 as never)), ['FST_SSE_SCHEMA', /withTexts takes a schema and strings/])
  t.match(await refusal({ '~texts': 'no list', schema: chunk }), ['FST_SSE_SCHEMA', /withTexts takes a schema and strings/])
  t.match(await refusal(withTexts('json', '[DONE]')), ['FST_SSE_MAP', /the schema of event 'message' is "json"/])
})

t.test('the fingerprint counts the texts', async t => {
  const compile = schemaCompiler({})
  const fingerprints = [{ type: 'integer' }, withTexts({ type: 'integer' }, 'a'), withTexts({ type: 'integer' }, 'b')]
    .map(schema => compile(schema).fingerprint)
  t.equal(new Set(fingerprints).size, 3)
  t.equal(compile(withTexts({ type: 'integer' }, 'b')).fingerprint, fingerprints[2])
})
