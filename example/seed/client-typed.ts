// The same with the client of this package. Only the type of the route's event map is imported.
//   npx tsx example/seed/client-typed.ts [url]

import { connect } from 'fastify-typed-sse/client'
import type { events } from './server.ts'

const url = process.argv[2] ?? `http://127.0.0.1:${process.env.PORT ?? 3000}/sse`

try {
  for await (const event of connect<typeof events>(url, { events: { message: 'json' }, reconnect: false })) {
    if (event.event === 'message') console.log(`${new Date().toISOString()}  ${event.data.status} ${event.data.resMsg}`)
  }
} catch (error) {
  console.error(`${url}: ${(error as Error).message}`)
  process.exitCode = 1
}
