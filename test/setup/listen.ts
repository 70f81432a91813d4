import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** Listens on a free port until the end of the test. Returns the port. */
export async function listen (
  t: { teardown: (fn: () => Promise<unknown>) => unknown },
  app: FastifyInstance
): Promise<number> {
  t.teardown(() => app.close())
  // A thousand clients connect at once, and a busy machine accepts late: Linux drops connections beyond the backlog.
  await app.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 })
  return (app.server.address() as AddressInfo).port
}
