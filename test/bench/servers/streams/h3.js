import { createServer } from 'node:http'
import { EventStream, H3, toNodeHandler } from 'h3/node'
import { report } from '../report.js'
import { textsOf } from './events.js'

const app = new H3()
app.get('/**', event => {
  const stream = new EventStream(event)
  const tell = async () => {
    for await (const data of textsOf(event.url.pathname)) await stream.push({ data })
    await stream.close()
  }
  tell()
  return stream
})

const server = createServer(toNodeHandler(app))
server.listen(0, '127.0.0.1', () => report(server.address().port))
