import type { FastifyInstance } from 'fastify'
import { chat, type ChatMessage } from 'fastify-typed-sse/protocols/ai-sdk'
import { page } from '../page.ts'
import { generate, type Generate } from '../tokens/model.ts'

const LIMIT = 1000
// Milliseconds between two tokens: slow enough to reload the page in the middle.
const INTERVAL = 250

function textOf ({ parts }: ChatMessage): string {
  return parts.map(part => 'text' in part ? String(part.text) : '').join('')
}

/**
 * A chat for `useChat` of the AI SDK: `POST /api/chat`, `GET /api/chat/:id/stream` and `DELETE /api/chat/:id`. Its page
 * reads the same protocol with `connect`.
 */
export default async function assistant (app: FastifyInstance, options: { generate?: Generate }): Promise<void> {
  const model = options.generate ?? generate
  chat(app, {
    // Clients choose the ids, which must be hard to guess. A real service checks the owner of the chat.
    authorize: (_request, key) => key.length >= 16,
    produce: ({ messages, signal }) => model(textOf(messages.at(-1)!), { limit: LIMIT, signal, interval: INTERVAL })
  })
  page(app, '/assistant', new URL('page.html', import.meta.url))
}
