import { createServer } from 'node:http'
import { report } from '../report.js'
import { publishing } from './prices.js'

const responses = new Set()
const server = createServer((request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(':\n\n')
  responses.add(response)
  response.once('close', () => responses.delete(response))
})

server.listen(0, '127.0.0.1', () => report(server.address().port, publishing(server, (n, data) => {
  const frame = Buffer.from(`id: 5n1g0hbgd-${n}\ndata: ${JSON.stringify(data)}\n\n`)
  for (const response of responses) response.write(frame)
})))
