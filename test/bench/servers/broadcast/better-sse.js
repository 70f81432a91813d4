import { createServer } from 'node:http'
import { createChannel, createSession } from 'better-sse'
import { report } from '../report.js'
import { publishing } from './publish.js'

const news = createChannel()
const server = createServer(async (request, response) => {
  news.register(await createSession(request, response))
})

server.listen(0, '127.0.0.1', () => report(server.address().port, publishing((n, data) => {
  news.broadcast(data, 'message', { eventId: String(n) })
})))
