import { once } from 'node:events'
import { createServer } from 'node:http'
import { report } from '../report.js'
import { eventsOf } from './events.js'

const server = createServer(async (request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
  for await (const { data } of eventsOf(request.url)) {
    if (!response.write(`data: ${JSON.stringify(data)}\n\n`)) await once(response, 'drain')
  }
  response.end()
})

server.listen(0, '127.0.0.1', () => report(server.address().port))
