import type Anthropic from '@anthropic-ai/sdk'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify from 'fastify'
import type OpenAI from 'openai'
import sse, { asData, named, type DataOf, type EventOf } from '../../lib/index.ts'
import { messageEvents, messageOptions, type MessageStreamEvent } from '../../lib/protocols/anthropic.ts'
import {
  chatCompletionEvents, chatCompletionOptions, responseEvents, responseOptions, responses,
  type ChatCompletionChunk, type ResponseEvent, type ResponseEventName
} from '../../lib/protocols/openai.ts'
import { connect } from '../../lib/client.ts'
import { assertType, type Equal } from './equal.ts'

// The chunks of the official SDKs fit the protocols. Compiled, never run.

declare const openai: OpenAI
declare const anthropic: Anthropic
const app = Fastify()
app.register(sse)
type Responses = OpenAI.Responses.ResponseStreamEvent

assertType<OpenAI.ChatCompletionChunk extends ChatCompletionChunk ? true : false>()
assertType<Responses extends ResponseEvent ? true : false>()
assertType<Equal<ResponseEventName, Responses['type'] | 'keepalive'>>()
assertType<Anthropic.RawMessageStreamEvent extends MessageStreamEvent ? true : false>()
assertType<Anthropic.Beta.BetaRawMessageStreamEvent['type'] extends MessageStreamEvent['type'] ? true : false>()

// The stream of an SDK is a source as it is.

app.post('/v1/chat/completions', { schema: { sse: chatCompletionEvents } }, async (request, reply) => reply.sse(
  asData(await openai.chat.completions.create({ model: 'm', messages: [], stream: true }, { signal: request.signal })),
  chatCompletionOptions
))
app.post('/v1/responses', { schema: { sse: responseEvents } }, (_request, reply) => reply.sse(
  responses(({ signal }) => openai.responses.create({ model: 'm', stream: true }, { signal })),
  responseOptions
))
app.post('/v1/messages', { schema: { sse: messageEvents } }, (_request, reply) => reply.sse(
  named(({ signal }) =>
    anthropic.messages.create({ model: 'm', max_tokens: 1, messages: [], stream: true }, { signal })),
  messageOptions
))
const typebox = app.withTypeProvider<TypeBoxTypeProvider>()
typebox.post('/v1/chat/completions', { schema: { sse: chatCompletionEvents } }, async (request, reply) => reply.sse(
  asData(await openai.chat.completions.create({ model: 'm', messages: [], stream: true }, { signal: request.signal })),
  chatCompletionOptions
))
typebox.post('/v1/responses', { schema: { sse: responseEvents } }, (_request, reply) => reply.sse(
  responses(({ signal }) => openai.responses.create({ model: 'm', stream: true }, { signal })),
  responseOptions
))
typebox.post('/v1/messages', { schema: { sse: messageEvents } }, (_request, reply) => reply.sse(
  named(({ signal }) =>
    anthropic.messages.create({ model: 'm', max_tokens: 1, messages: [], stream: true }, { signal })),
  messageOptions
))

// The options fit every place of an event.

const chat = { events: chatCompletionEvents, errorEvent: chatCompletionOptions.errorEvent }
app.sse.channel('chat', chat).publishFrom(asData(openai.chat.completions.create({
  model: 'm',
  messages: [],
  stream: true
}) as unknown as AsyncIterable<OpenAI.ChatCompletionChunk>))
app.sse.channel('response', { events: responseEvents, errorEvent: responseOptions.errorEvent })
app.sse.channel('message', { events: messageEvents, errorEvent: messageOptions.errorEvent })

// Events by hand.

export async function * completion (): AsyncGenerator<EventOf<typeof chatCompletionEvents>> {
  const head = { id: 'x', object: 'chat.completion.chunk', created: 1, model: 'm' } as const
  yield { data: { ...head, choices: [{ index: 0, delta: { content: 'a' }, finish_reason: null }] } }
  yield { data: '[DONE]' }
  yield { data: { error: { message: 'a', type: 'b', param: null, code: null } } }
  // @ts-expect-error another text
  yield { data: '[END]' }
  // @ts-expect-error no delta
  yield { data: { ...head, choices: [{ index: 0, finish_reason: null }] } }
}

export async function * answer (): AsyncGenerator<EventOf<typeof responseEvents>> {
  yield { event: 'response.output_text.delta', data: { type: 'response.output_text.delta', sequence_number: 1, delta: 'a' } }
  // @ts-expect-error another name in the data
  yield { event: 'response.output_text.delta', data: { type: 'response.output_text.done', sequence_number: 1 } }
}

declare const events: AsyncIterable<ResponseEvent>
app.post('/', { schema: { sse: responseEvents } }, (_request, reply) => reply.sse(responses(events), responseOptions))
// @ts-expect-error no event of the API
responses([{ type: 'response.none' }])
// @ts-expect-error a wrong field
responses([{ type: 'response.created', response: 'text' }])

assertType<Equal<DataOf<typeof messageEvents['ping']>, { type: 'ping' }>>()

export async function read (): Promise<void> {
  const { message_start: start, error } = messageEvents
  for await (const event of connect('/v1/messages', { events: { message_start: start, error } })) {
    if (event.event === 'message_start') assertType<Equal<typeof event.data.message.role, 'assistant'>>()
  }
}
