import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { serve } from '../serve.js'
import { cancelable, closed, closing, textsOf } from './events.js'

const app = new Hono()

app.get('/natural/:last', context => streamSSE(context, async stream => {
  try {
    const events = cancelable(Number(context.req.param('last')), context.req.raw.signal)
    for await (const { data } of events) await stream.writeSSE({ data: JSON.stringify(data) })
  } finally {
    // `stream.onAbort` is not called at the end of a stream.
    closed()
  }
}))

app.get('/*', context => streamSSE(context, async stream => {
  for await (const data of textsOf(context.req.path)) await stream.writeSSE({ data })
}))

serve(getRequestListener(app.fetch), closing)
