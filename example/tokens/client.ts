// The clients of OpenAI and of Anthropic read an answer of the same model.
//   npx tsx example/tokens/client.ts [url] [question]

import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'

const [, , url = `http://127.0.0.1:${process.env.PORT ?? 3000}`, content = 'What is an event stream?'] = process.argv
const model = 'word-chain'
const messages = [{ role: 'user' as const, content }]

try {
  const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 })
  for await (const chunk of await openai.chat.completions.create({ model, messages, stream: true })) {
    process.stdout.write(chunk.choices[0]?.delta.content ?? '\n')
  }
  const anthropic = new Anthropic({ baseURL: url, apiKey: 'none', maxRetries: 0 })
  for await (const event of anthropic.messages.stream({ model, messages, max_tokens: 1000 })) {
    if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') process.stdout.write(event.delta.text)
  }
  process.stdout.write('\n')
} catch (error) {
  console.error(`${url}: ${(error as Error).message}`)
  process.exitCode = 1
}
