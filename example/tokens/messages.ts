import { randomUUID } from 'node:crypto'
import { Type } from '@sinclair/typebox'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { named } from 'fastify-typed-sse'
import {
  anthropicErrorHandler, messageEvents, messageOptions, type MessageStreamEvent
} from 'fastify-typed-sse/protocols/anthropic'
import { generate, type Generate } from './model.ts'

// The parameters that this endpoint uses. It streams each answer.
const Body = Type.Object({
  model: Type.String(),
  max_tokens: Type.Integer({ minimum: 1 }),
  messages: Type.Array(Type.Object({ role: Type.String(), content: Type.String() }), { minItems: 1 }),
  stream: Type.Literal(true)
})

async function * eventsOf (
  model: string,
  tokens: AsyncIterable<string>,
  limit: number
): AsyncGenerator<MessageStreamEvent> {
  const head = { id: `msg_${randomUUID()}`, type: 'message', role: 'assistant', model } as const
  yield { type: 'message_start', message: { ...head, content: [], usage: { input_tokens: 0, output_tokens: 0 } } }
  yield { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }
  let count = 0
  for await (const text of tokens) {
    count++
    yield { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } }
  }
  yield { type: 'content_block_stop', index: 0 }
  const reason = count < limit ? 'end_turn' : 'max_tokens'
  yield { type: 'message_delta', delta: { stop_reason: reason }, usage: { output_tokens: count } }
  yield { type: 'message_stop' }
}

/** `POST /v1/messages` in the format of Anthropic: a stream of tokens. */
export default async function messages (app: FastifyInstance, options: { generate?: Generate }): Promise<void> {
  const model = options.generate ?? generate
  app.withTypeProvider<TypeBoxTypeProvider>().post('/v1/messages', {
    schema: { body: Body, sse: messageEvents },
    errorHandler: anthropicErrorHandler
  }, (request, reply) => {
    const { body: { model: name, max_tokens: limit, messages }, signal } = request
    return reply.sse(named(eventsOf(name, model(messages.at(-1)!.content, { limit, signal }), limit)), messageOptions)
  })
}
