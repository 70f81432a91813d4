import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { serve } from '../serve.js'
import { publishing } from './publish.js'

const clients = new Set()
const app = new Hono()
app.get('/', context => streamSSE(context, async stream => {
  clients.add(stream)
  await stream.write(':\n\n')
  await new Promise(resolve => stream.onAbort(resolve))
  clients.delete(stream)
}))

serve(getRequestListener(app.fetch), publishing((n, data) => {
  const event = { id: String(n), data: JSON.stringify(data) }
  for (const client of clients) client.writeSSE(event)
}))
