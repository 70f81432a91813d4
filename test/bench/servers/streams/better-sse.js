import { createSession } from 'better-sse'
import { serve } from '../serve.js'
import { cancelable, closed, closing, eventsOf } from './events.js'

async function bare (request, response) {
  const session = await createSession(request, response)
  for await (const { data } of eventsOf(request.url)) session.push(data)
  response.end()
}

async function natural (request, response) {
  const session = await createSession(request, response)
  session.once('disconnected', closed)
  const events = cancelable(Number(request.url.slice('/natural/'.length)), session.getRequest().signal)
  for await (const { data } of events) session.push(data)
  response.end()
}

serve((request, response) => request.url.startsWith('/natural/') ? natural(request, response) : bare(request, response),
  closing)
