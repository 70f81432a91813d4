import { once } from 'node:events'
import { connect } from 'node:net'
import { getHeapSpaceStatistics } from 'node:v8'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import sse from 'fastify-typed-sse'

// Short streams, one after the other on one connection. Prints how many bytes of each only a full collection frees.

const app = Fastify()
await app.register(sse)
// One function for all: V8 keeps an object for each generator function that is called.
async function * events () { yield { data: 'x' } }
app.get('/', { schema: { sse: { message: Type.String() } } }, (request, reply) => reply.sse(events))
await app.listen({ host: '127.0.0.1', port: 0 })
const socket = connect(app.server.address().port, '127.0.0.1')

async function oldAfter (streams) {
  for (let n = 1; n <= streams; n++) {
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    let last = ''
    while (!last.endsWith('0\r\n\r\n')) last = String((await once(socket, 'data'))[0])
    if (n % 100 === 0) globalThis.gc({ type: 'minor' })
  }
  return getHeapSpaceStatistics().find(({ space_name: name }) => name === 'old_space').space_used_size
}

// The first ones pay for compiled and cached code.
const before = await oldAfter(2_000)
console.log(Math.round((await oldAfter(1_000) - before) / 1_000))
process.exit()
