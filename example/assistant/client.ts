// The transport of the AI SDK's `useChat` reads an answer of the assistant.
//   npx tsx example/assistant/client.ts [url] [question]

import { randomUUID } from 'node:crypto'
import { DefaultChatTransport, type UIMessage } from 'ai'

const [, , url = `http://127.0.0.1:${process.env.PORT ?? 3000}`, text = 'What is an event stream?'] = process.argv

try {
  const question: UIMessage = { id: randomUUID(), role: 'user', parts: [{ type: 'text', text }] }
  const stream = await new DefaultChatTransport({ api: `${url}/api/chat` }).sendMessages({
    chatId: randomUUID(),
    messages: [question],
    trigger: 'submit-message',
    messageId: undefined,
    abortSignal: undefined
  })
  for await (const chunk of stream) {
    if (chunk.type === 'text-delta') process.stdout.write(chunk.delta)
    if (chunk.type === 'error') throw new Error(chunk.errorText)
  }
  process.stdout.write('\n')
} catch (error) {
  console.error(`${url}: ${(error as Error).message}`)
  process.exitCode = 1
}
