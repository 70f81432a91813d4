import { randomUUID } from 'node:crypto'
import { Type, type Static } from '@sinclair/typebox'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyInstance } from 'fastify'
import { asData } from 'fastify-typed-sse'
import {
  chatCompletionEvents, chatCompletionOptions, openAIErrorHandler, type ChatCompletionChunk
} from 'fastify-typed-sse/protocols/openai'
import { page } from '../page.ts'
import { generate, type Generate } from './model.ts'

const FinishReason = Type.Union([Type.Literal('stop'), Type.Literal('length')])

// The parameters that this endpoint uses. The other parameters of the official API are accepted and ignored.
const Body = Type.Object({
  model: Type.String(),
  messages: Type.Array(Type.Object({
    role: Type.Union(['developer', 'system', 'user', 'assistant'].map(role => Type.Literal(role))),
    content: Type.String()
  }), { minItems: 1 }),
  max_completion_tokens: Type.Integer({ minimum: 1, default: 1024 }),
  stream: Type.Boolean({ default: false })
})

const Completion = Type.Object({
  id: Type.String(),
  object: Type.Literal('chat.completion'),
  created: Type.Integer(),
  model: Type.String(),
  choices: Type.Array(Type.Object({
    index: Type.Integer(),
    message: Type.Object({ role: Type.Literal('assistant'), content: Type.String(), refusal: Type.Null() }),
    logprobs: Type.Null(),
    finish_reason: FinishReason
  })),
  usage: Type.Object({ prompt_tokens: Type.Integer(), completion_tokens: Type.Integer(), total_tokens: Type.Integer() })
})

type Choice = ChatCompletionChunk['choices'][number]

interface Answer { head: Pick<ChatCompletionChunk, 'id' | 'created' | 'model'>, tokens: AsyncIterable<string>, limit: number }

async function * chunksOf ({ head, tokens, limit }: Answer): AsyncGenerator<ChatCompletionChunk> {
  const chunk = (delta: Choice['delta'], finish: Choice['finish_reason'] = null): ChatCompletionChunk => ({
    ...head,
    object: 'chat.completion.chunk',
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }]
  })
  let count = 0
  yield chunk({ role: 'assistant', content: '' })
  for await (const content of tokens) {
    count++
    yield chunk({ content })
  }
  yield chunk({}, count < limit ? 'stop' : 'length')
}

async function completionOf ({ head, tokens, limit }: Answer, prompt: string): Promise<Static<typeof Completion>> {
  let count = 0
  let content = ''
  for await (const token of tokens) {
    count++
    content += token
  }
  const promptTokens = prompt.split(/\s+/).length
  return {
    ...head,
    object: 'chat.completion',
    choices: [{
      index: 0,
      message: { role: 'assistant', content, refusal: null },
      logprobs: null,
      finish_reason: count < limit ? 'stop' : 'length'
    }],
    usage: { prompt_tokens: promptTokens, completion_tokens: count, total_tokens: promptTokens + count }
  }
}

/**
 * `POST /v1/chat/completions` in the format of OpenAI: a stream of tokens, or one JSON answer, depending on
 * `body.stream`.
 */
export default async function tokens (app: FastifyInstance, options: { generate?: Generate }): Promise<void> {
  const model = options.generate ?? generate
  page(app, '/tokens', new URL('page.html', import.meta.url))

  app.withTypeProvider<TypeBoxTypeProvider>().post('/v1/chat/completions', {
    schema: { body: Body, sse: chatCompletionEvents, response: { 200: Completion } },
    errorHandler: openAIErrorHandler
  }, async (request, reply) => {
    // With `schema.sse` on the route, `request.signal` is correct in both forms of the answer: Fastify's own signal
    // aborts a POST as soon as its body is read.
    const { body, signal } = request
    const prompt = body.messages.at(-1)!.content
    const limit = body.max_completion_tokens
    const answer: Answer = {
      head: { id: `chatcmpl-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model: body.model },
      tokens: model(prompt, { limit, signal }),
      limit
    }
    if (body.stream) return reply.sse(asData(chunksOf(answer)), chatCompletionOptions)
    try {
      return await completionOf(answer, prompt)
    } catch (error) {
      if (!signal.aborted) throw error
      // The client disconnected, so the model stopped and no answer is sent.
      reply.hijack()
    }
  })
}
