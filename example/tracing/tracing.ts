import { channel } from 'node:diagnostics_channel'
import { context, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, type Link, type SpanContext, type Tracer } from '@opentelemetry/api'
import type { FastifyRequest } from 'fastify'
import type { Diagnostics } from 'fastify-typed-sse'

type Names<Name = keyof Diagnostics> = Name extends `fastify-typed-sse:${infer N}` ? N : never

const SYSTEM = { 'messaging.system': 'fastify-typed-sse' }

/** Listens to one of the channels. Returns what stops it. */
function hear<N extends Names> (name: N, listener: (message: Diagnostics[`fastify-typed-sse:${N}`]) => void): () => void {
  const told = channel(`fastify-typed-sse:${name}`)
  const heard = (message: unknown): void => listener(message as Diagnostics[`fastify-typed-sse:${N}`])
  told.subscribe(heard)
  return () => { told.unsubscribe(heard) }
}

/**
 * Spans of what the package tells: of each publish, of each delivery with links to the publishes that it delivers, and of each stream.
 * All of them are made when the thing is over, with the time of its beginning: thousands of streams are open for hours, and a span that
 * is held as long costs memory all the time, is lost when the process dies, and tells nothing before it ends. Returns what stops it.
 */
export function traceSse (tracer: Tracer, { remembered = 10_000 } = {}): () => void {
  const published = new Published(remembered)
  // Who asked for a stream: a few words each, which go with the request.
  const asked = new WeakMap<FastifyRequest, SpanContext>()
  const stops = [
    hear('publish', ({ channel, event, id }) => {
      // A child of what publishes: a request, or a job.
      const span = tracer.startSpan(`publish ${channel}`, {
        kind: SpanKind.PRODUCER,
        attributes: { ...SYSTEM, 'messaging.operation.type': 'send', 'messaging.destination.name': channel, 'messaging.message.id': id, 'sse.event': event }
      })
      span.end()
      published.add(id, span.spanContext())
    }),
    hear('deliver', ({ channel, epoch, from, to, subscribers, latency }) => {
      // Of many publishes, so that none of them is its parent.
      tracer.startSpan(`deliver ${channel}`, {
        root: true,
        kind: SpanKind.CONSUMER,
        startTime: Date.now() - latency,
        links: published.take(epoch, from, to),
        attributes: { ...SYSTEM, 'messaging.operation.type': 'process', 'messaging.destination.name': channel, 'messaging.batch.message_count': to - from + 1, 'sse.subscribers': subscribers }
      }).end()
    }),
    hear('open', ({ request }) => {
      const parent = trace.getSpanContext(context.active())
      if (parent !== undefined) asked.set(request, parent)
    }),
    hear('close', ({ request, route, reason, duration, events, bytes }) => {
      const parent = asked.get(request)
      const span = tracer.startSpan(`stream ${route}`, {
        kind: SpanKind.SERVER,
        startTime: Date.now() - duration,
        attributes: { 'sse.route': route, 'sse.close.reason': reason, 'sse.events': events, 'sse.bytes': bytes }
      }, parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent))
      if (reason === 'error') span.setStatus({ code: SpanStatusCode.ERROR })
      span.end()
    })
  ]
  return () => { for (const stop of stops) stop() }
}

/** The contexts of what was published and not yet delivered: so many, then the oldest go. Nobody may ever follow its channel. */
class Published {
  readonly #most: number
  readonly #contexts = new Map<string, SpanContext>()

  constructor (most: number) {
    this.#most = most
  }

  add (id: string, context: SpanContext): void {
    this.#contexts.set(id, context)
    if (this.#contexts.size <= this.#most) return
    const [oldest] = this.#contexts.keys()
    this.#contexts.delete(oldest!)
  }

  /** Links to those that are known. What another node published is not, nor is what comes before its publisher has heard of it. */
  take (epoch: string, from: number, to: number): Link[] {
    const links: Link[] = []
    for (let offset = from; offset <= to; offset++) {
      const id = `${epoch}-${offset}`
      const context = this.#contexts.get(id)
      if (context === undefined) continue
      this.#contexts.delete(id)
      links.push({ context })
    }
    return links
  }
}
