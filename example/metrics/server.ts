import type { FastifyInstance } from 'fastify'
import { Registry } from 'prom-client'
import { sseMetrics } from './metrics.ts'

/** `GET /metrics`: the target of Prometheus. Use a registry that has the other metrics of your process, too. */
export default async function metrics (
  app: FastifyInstance,
  { registry = new Registry() }: { registry?: Registry }
): Promise<void> {
  sseMetrics(app, registry)
  app.get('/metrics', { schema: { hide: true } },
    async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()))
}
