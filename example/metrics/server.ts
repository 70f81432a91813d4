import type { FastifyInstance } from 'fastify'
import { Registry } from 'prom-client'
import { sseMetrics } from './metrics.ts'

/** `GET /metrics`: what Prometheus scrapes. Yours has the metrics of the rest of the process in the same registry. */
export default async function metrics (app: FastifyInstance, { registry = new Registry() }: { registry?: Registry }): Promise<void> {
  sseMetrics(app, registry)
  app.get('/metrics', { schema: { hide: true } }, async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()))
}
