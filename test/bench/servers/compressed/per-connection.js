import { createServer } from 'node:http'
import { constants, createGzip } from 'node:zlib'
import { report } from '../report.js'
import { publishing } from './prices.js'

const streams = new Set()
const server = createServer((request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' })
  const stream = createGzip({ flush: constants.Z_SYNC_FLUSH })
  stream.on('data', chunk => response.write(chunk))
  stream.write(':\n\n')
  streams.add(stream)
  response.once('close', () => {
    streams.delete(stream)
    stream.close()
  })
})

server.listen(0, '127.0.0.1', () => report(server.address().port, publishing(server, (n, data) => {
  const frame = Buffer.from(`id: 5n1g0hbgd-${n}\ndata: ${JSON.stringify(data)}\n\n`)
  for (const stream of streams) stream.write(frame)
})))
