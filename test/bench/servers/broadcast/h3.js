import { createServer } from 'node:http'
import { EventStream, H3, toNodeHandler } from 'h3/node'
import { report } from '../report.js'
import { publishing } from './publish.js'

const clients = new Set()
const app = new H3()
app.get('/', event => {
  const stream = new EventStream(event)
  clients.add(stream)
  stream.onClosed(() => clients.delete(stream))
  stream.pushComment('')
  return stream
})

const server = createServer(toNodeHandler(app))
server.listen(0, '127.0.0.1', () => report(server.address().port, publishing((n, data) => {
  const event = { id: String(n), data: JSON.stringify(data) }
  for (const client of clients) client.push(event)
})))
