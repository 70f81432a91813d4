import { readFile } from 'node:fs/promises'
import type { FastifyInstance } from 'fastify'

const dist = new URL('.', import.meta.resolve('fastify-typed-sse'))

/** Serves the package's modules, so that a page can import the client without a bundler. */
export function modules (app: FastifyInstance): void {
  app.get<{ Params: { '*': string } }>('/fastify-typed-sse/*', { schema: { hide: true } }, async (request, reply) => {
    const path = request.params['*']
    if (!/^(?:[a-z-]+\/)*[a-z-]+\.js$/.test(path)) return reply.callNotFound()
    const text = await readFile(new URL(path, dist), 'utf8').catch(() => undefined)
    return text === undefined ? reply.callNotFound() : reply.type('text/javascript; charset=utf-8').send(text)
  })
}
