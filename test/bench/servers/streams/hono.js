import { createServer } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { report } from '../report.js'
import { textsOf } from './events.js'

const app = new Hono()
app.get('/*', context => streamSSE(context, async stream => {
  for await (const data of textsOf(context.req.path)) await stream.writeSSE({ data })
}))

const server = createServer(getRequestListener(app.fetch))
server.listen(0, '127.0.0.1', () => report(server.address().port))
