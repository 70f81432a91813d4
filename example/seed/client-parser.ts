// The same with a library: eventsource-parser parses the events, and JSON.parse their data.
//   npx tsx example/seed/client-parser.ts [url]

import { EventSourceParserStream } from 'eventsource-parser/stream'

const url = process.argv[2] ?? `http://127.0.0.1:${process.env.PORT ?? 3000}/sse`

try {
  const response = await fetch(url, { headers: { accept: 'text/event-stream' } })
  if (!response.ok || response.body === null) {
    throw new Error(`the server answered ${response.status} ${response.statusText}`)
  }
  const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream())
  for await (const { data } of events) {
    const { status, resMsg } = JSON.parse(data) as { status: number, resMsg: string }
    console.log(`${new Date().toISOString()}  ${status} ${resMsg}`)
  }
} catch (error) {
  const { message, cause } = error as Error
  console.error(`${url}: ${cause instanceof Error ? cause.message : message}`)
  process.exitCode = 1
}
