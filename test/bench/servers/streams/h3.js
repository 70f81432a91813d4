import { EventStream, H3, toNodeHandler } from 'h3/node'
import { serve } from '../serve.js'
import { cancelable, closed, closing, textsOf } from './events.js'

const app = new H3()

app.get('/natural/:last', event => {
  const stream = new EventStream(event)
  stream.onClosed(closed)
  const tell = async () => {
    const events = cancelable(Number(event.context.params.last), event.req.signal)
    for await (const { data } of events) await stream.push({ data: JSON.stringify(data) })
    await stream.close()
  }
  tell()
  return stream
})

app.get('/**', event => {
  const stream = new EventStream(event)
  const tell = async () => {
    for await (const data of textsOf(event.url.pathname)) await stream.push({ data })
    await stream.close()
  }
  tell()
  return stream
})

serve(toNodeHandler(app), closing)
