import { once } from 'node:events'
import { serve } from '../serve.js'
import { cancelable, closed, closing, eventsOf } from './events.js'

const HEAD = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' }

async function bare (request, response) {
  response.writeHead(200, HEAD)
  for await (const { data } of eventsOf(request.url)) {
    if (!response.write(`data: ${JSON.stringify(data)}\n\n`)) await once(response, 'drain')
  }
  response.end()
}

async function natural (request, response) {
  const controller = new AbortController()
  const { signal } = controller
  response.once('close', () => {
    controller.abort()
    closed()
  })
  response.writeHead(200, HEAD)
  for await (const { data } of cancelable(Number(request.url.slice('/natural/'.length)), signal)) {
    if (!response.write(`data: ${JSON.stringify(data)}\n\n`)) await once(response, 'drain', { signal })
  }
  response.end()
}

serve((request, response) => request.url.startsWith('/natural/') ? natural(request, response) : bare(request, response),
  closing)
