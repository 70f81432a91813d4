import t from 'tap'
import { openEventSource } from '../setup/clients/event-source.ts'
import { startBetterSse } from '../setup/servers/better-sse.ts'
import { startH3 } from '../setup/servers/h3.ts'
import { startHono } from '../setup/servers/hono.ts'
import { STORY } from '../setup/servers/story.ts'

// Servers that other people's libraries make, as the tests of a client need them: here a client of other people reads them.

for (const [name, start] of Object.entries({ 'better-sse': startBetterSse, hono: startHono, h3: startH3 })) {
  t.test(`${name} tells its story in pieces, and 204 at the end`, async t => {
    const server = await start(t)
    const reader = await openEventSource(t, server.url, STORY.map(({ event }) => event))
    await reader.until('the end', ({ stopped }) => stopped)
    t.strictSame(reader.messages, server.told)
    t.strictSame(server.positions, [undefined, '2', '4', '6'])
  })
}
