import { readFile } from 'node:fs/promises'
import { extname } from 'node:path'
import type {} from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8'
}

/** Serves one file. It is read at each request: edit it and reload the browser. */
export function page (app: FastifyInstance, path: string, file: URL): void {
  app.get(path, { schema: { hide: true } },
    async (_request, reply) => reply.type(TYPES[extname(file.pathname)]!).send(await readFile(file)))
}
