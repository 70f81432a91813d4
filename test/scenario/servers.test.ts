import t from 'tap'
import { openConnect } from '../setup/clients/connect.ts'
import { openEventSource } from '../setup/clients/event-source.ts'
import { startBetterSse } from '../setup/servers/better-sse.ts'
import { startH3 } from '../setup/servers/h3.ts'
import { startHono } from '../setup/servers/hono.ts'
import { STORY } from '../setup/servers/story.ts'

// Servers with third-party libraries, read by our client, and by a third-party client that shows that they work.

for (const [name, start] of Object.entries({ 'better-sse': startBetterSse, hono: startHono, h3: startH3 })) {
  for (const [client, open] of Object.entries({ connect: openConnect, eventsource: openEventSource })) {
    t.test(`${client} reads the events of ${name}, which are sent in pieces, with 204 at the end`, async t => {
      const server = await start(t)
      const reader = await open(t, server.url, STORY.map(({ event }) => event))
      await reader.until('the end', ({ stopped }) => stopped)
      t.strictSame(reader.messages, server.expected)
      t.strictSame(server.positions, [undefined, '2', '4', '6'])
    })
  }
}
