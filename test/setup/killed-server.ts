import { once } from 'node:events'
import { openSync, writeSync } from 'node:fs'
import Fastify from 'fastify'
import sse from '../../lib/index.ts'
import { sqliteLog } from '../../lib/sqlite.ts'
import { openDatabase } from './sqlite.ts'

// A server that a test kills: node --import ./test/setup/typescript.js killed-server.ts FILE DIARY PUBLISHERS
// It writes the id and the data of each acknowledged event to the diary, one line each, and prints its address.

const [file = '', diary = '', publishers = '0'] = process.argv.slice(2)
// The modules are loaded: the test lets it open the file.
await once(process.stdin, 'data')
const lines = openSync(diary, 'a')
const hasDriver = process.getBuiltinModule('node:sqlite') !== undefined
const eventLog = sqliteLog(hasDriver ? file : openDatabase(file))

const app = Fastify({ forceCloseConnections: true })
await app.register(sse, { eventLog })
const options = { start: 'earliest', history: { maxEvents: 1_000_000, maxBytes: 1e9 } } as const
const channels = ['a', 'b'].map(name => app.sse.channel(name, options))
app.get<{ Params: { name: string } }>('/:name', (request, reply) =>
  reply.sse(app.sse.channel(request.params.name, options)))

console.log(await app.listen({ port: 0 }))

/** Publishes to all channels, again and again. */
async function publish (publisher: number): Promise<void> {
  for (let n = 0; ; n++) {
    for (const channel of channels) {
      const data = `${process.pid} ${publisher} ${n}`
      const id = await channel.publish({ event: 'message', data })
      writeSync(lines, `${channel.name} ${id} ${data}\n`)
    }
  }
}

if (publishers === '0') {
  for (const channel of channels) await channel.publish({ event: 'last', data: '' })
}
for (let publisher = 0; publisher < Number(publishers); publisher++) publish(publisher)
