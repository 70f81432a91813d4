import { channel } from 'node:diagnostics_channel'
import {
  context, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, type Link, type SpanContext,
  type Tracer
} from '@opentelemetry/api'
import type { FastifyRequest } from 'fastify'
import type { Diagnostics } from 'fastify-typed-sse'

type Names<Name = keyof Diagnostics> = Name extends `fastify-typed-sse:${infer N}` ? N : never

const SYSTEM = { 'messaging.system': 'fastify-typed-sse' }

/** Subscribes to one of the diagnostics channels. Returns a function that unsubscribes. */
function listen<N extends Names> (
  name: N,
  listener: (message: Diagnostics[`fastify-typed-sse:${N}`]) => void
): () => void {
  const diagnostics = channel(`fastify-typed-sse:${name}`)
  const receive = (message: unknown): void => listener(message as Diagnostics[`fastify-typed-sse:${N}`])
  diagnostics.subscribe(receive)
  return () => { diagnostics.unsubscribe(receive) }
}

/**
 * Creates spans from the diagnostics channels: for each publish, for each delivery with links to its publishes, and for
 * each stream. A span is created at the end, with its start time. Thousands of streams are open for hours: a span held
 * that long costs memory, is lost when the process dies, and is exported only at its end. Returns a function that stops
 * it.
 */
export function traceSse (tracer: Tracer, { maxPending = 10_000 } = {}): () => void {
  const published = new PendingPublishes(maxPending)
  // The span context of each stream's request. It is small, and is released with the request.
  const parents = new WeakMap<FastifyRequest, SpanContext>()
  const stops = [
    listen('publish', ({ channel, event, id }) => {
      // A child of the active span: a request, or a job.
      const span = tracer.startSpan(`publish ${channel}`, {
        kind: SpanKind.PRODUCER,
        attributes: {
          ...SYSTEM,
          'messaging.operation.type': 'send',
          'messaging.destination.name': channel,
          'messaging.message.id': id,
          'sse.event': event
        }
      })
      span.end()
      published.add(id, span.spanContext())
    }),
    listen('deliver', ({ channel, epoch, from, to, subscribers, latency }) => {
      // A delivery has many publishes, so none of them is its parent.
      tracer.startSpan(`deliver ${channel}`, {
        root: true,
        kind: SpanKind.CONSUMER,
        startTime: Date.now() - latency,
        links: published.take(epoch, from, to),
        attributes: {
          ...SYSTEM,
          'messaging.operation.type': 'process',
          'messaging.destination.name': channel,
          'messaging.batch.message_count': to - from + 1,
          'sse.subscribers': subscribers
        }
      }).end()
    }),
    listen('open', ({ request }) => {
      const parent = trace.getSpanContext(context.active())
      if (parent !== undefined) parents.set(request, parent)
    }),
    listen('close', ({ request, route, reason, duration, events, bytes }) => {
      const parent = parents.get(request)
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

/**
 * The span contexts of undelivered publishes. At the limit, the oldest is dropped: a channel may have no subscriber.
 */
class PendingPublishes {
  readonly #max: number
  readonly #contexts = new Map<string, SpanContext>()

  constructor (max: number) {
    this.#max = max
  }

  add (id: string, context: SpanContext): void {
    this.#contexts.set(id, context)
    if (this.#contexts.size <= this.#max) return
    const [oldest] = this.#contexts.keys()
    this.#contexts.delete(oldest!)
  }

  /**
   * Returns links to the known publishes. Those of other nodes are unknown, and so is one delivered before `publish`
   * resolves.
   */
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
