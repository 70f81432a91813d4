import { createServer } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { report } from '../report.js'
import { publishing } from './publish.js'

const clients = new Set()
const app = new Hono()
app.get('/', context => streamSSE(context, async stream => {
  clients.add(stream)
  await stream.write(':\n\n')
  await new Promise(resolve => stream.onAbort(resolve))
  clients.delete(stream)
}))

const server = createServer(getRequestListener(app.fetch))
server.listen(0, '127.0.0.1', () => report(server.address().port, publishing((n, data) => {
  const event = { id: String(n), data: JSON.stringify(data) }
  for (const client of clients) client.writeSSE(event)
})))
