import { createServer } from 'node:http'
import { createSession } from 'better-sse'
import { report } from '../report.js'
import { eventsOf } from './events.js'

const server = createServer(async (request, response) => {
  const session = await createSession(request, response)
  for await (const { data } of eventsOf(request.url)) session.push(data)
  response.end()
})

server.listen(0, '127.0.0.1', () => report(server.address().port))
