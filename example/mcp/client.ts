// Calls the slow tool of the example, and prints its progress and its result.
//   npx tsx example/mcp/client.ts                             the server of `npm start`
//   npx tsx example/mcp/client.ts http://127.0.0.1:3000/mcp
// Restart the network meanwhile: the client resumes the call.

import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { CallToolResultSchema } from '@modelcontextprotocol/sdk/types.js'

const url = process.argv[2] ?? `http://127.0.0.1:${process.env.PORT ?? 3000}/mcp`

try {
  const client = new Client({ name: 'example', version: '1.0.0' })
  const transport = new StreamableHTTPClientTransport(new URL(url))
  // The types of the SDK do not fit each other under exactOptionalPropertyTypes.
  await client.connect(transport as Parameters<typeof client.connect>[0])
  const result = await client.callTool({ name: 'brew', arguments: { cups: 5 } }, CallToolResultSchema, {
    onprogress: ({ message }) => console.log(message),
    resetTimeoutOnProgress: true
  })
  for (const { type, ...content } of CallToolResultSchema.parse(result).content) {
    console.log('text' in content ? content.text : type)
  }
  await transport.terminateSession()
  await client.close()
} catch (error) {
  const { message, cause } = error as Error
  console.error(`${url}: ${cause instanceof Error ? cause.message : message}`)
  process.exitCode = 1
}
