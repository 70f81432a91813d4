import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** Listens on a free port until the end of the test. Returns the port. */
export async function listen (
  t: { teardown: (fn: () => Promise<unknown>) => unknown },
  app: FastifyInstance
): Promise<number> {
  t.teardown(() => app.close())
  await app.listen({ port: 0, host: '127.0.0.1' })
  return (app.server.address() as AddressInfo).port
}
