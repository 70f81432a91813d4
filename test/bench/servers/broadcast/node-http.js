import { serve } from '../serve.js'
import { publishing } from './publish.js'

const responses = new Set()

serve((request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
  response.write(':\n\n')
  responses.add(response)
  response.once('close', () => responses.delete(response))
}, publishing((n, data) => {
  const frame = Buffer.from(`id: ${n}\ndata: ${JSON.stringify(data)}\n\n`)
  for (const response of responses) response.write(frame)
}))
