import { EventStream, H3, toNodeHandler } from 'h3/node'
import { serve } from '../serve.js'
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

serve(toNodeHandler(app), publishing((n, data) => {
  const event = { id: String(n), data: JSON.stringify(data) }
  for (const client of clients) client.push(event)
}))
