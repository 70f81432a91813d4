import { createChannel, createSession } from 'better-sse'
import { serve } from '../serve.js'
import { publishing } from './publish.js'

const news = createChannel()

serve(async (request, response) => {
  news.register(await createSession(request, response))
}, publishing((n, data) => {
  news.broadcast(data, 'message', { eventId: String(n) })
}))
