import { createServer } from 'node:http'
import { report } from '../report.js'
import { publishing } from './publish.js'

// No contestant, but the cost of Node's sockets: one buffer for all events of a turn, written to each. It validates
// nothing, stores nothing, and does not check whether its clients read.
const sockets = new Set()
let batch = ''

function flush () {
  const chunk = Buffer.from(`${Buffer.byteLength(batch).toString(16)}\r\n${batch}\r\n`)
  batch = ''
  for (const socket of sockets) socket.write(chunk)
}

const server = createServer(({ socket }, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
  response.write(':\n\n')
  sockets.add(socket)
  response.once('close', () => sockets.delete(socket))
})

server.listen(0, '127.0.0.1', () => report(server.address().port, publishing((n, data) => {
  if (batch === '') process.nextTick(flush)
  batch += `id: ${n}\ndata: ${JSON.stringify(data)}\n\n`
})))
