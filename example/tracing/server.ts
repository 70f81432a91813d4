import { setTimeout as sleep } from 'node:timers/promises'
import { BasicTracerProvider, ConsoleSpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import { traceSse } from './tracing.ts'

/*
 * Prints its spans: `npm run tracing`, then `curl -N` the printed address. A real app exports them to a collector, in
 * batches.
 */
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(new ConsoleSpanExporter())] })
const stop = traceSse(provider.getTracer('sse'))

const app = Fastify()
await app.register(sse)
const channel = app.sse.channel('ticks')
app.get('/ticks', (_request, reply) => reply.sse(channel))

app.addHook('onListen', () => { tick().catch(() => {}) })
async function tick (): Promise<void> {
  for (let number = 1; ; number++) {
    await sleep(1_000, undefined, { signal: app.sse.shutdownSignal })
    await channel.publish({ event: 'tick', data: { number } })
  }
}

const address = await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT ?? 3000) })
console.log(`curl -N ${address}/ticks`)
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, async () => {
    await app.close()
    stop()
    await provider.shutdown()
  })
}
