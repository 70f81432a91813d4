import { createServer } from 'node:http'
import { createSecureServer } from 'node:http2'
import { createServer as createTlsServer } from 'node:https'
import { report } from './report.js'

// Set by the load generator, with a certificate for TLS.
const { BENCH_TRANSPORT: transport = 'http', BENCH_KEY: key, BENCH_CERT: cert } = process.env

/** The options of Fastify for the transport: HTTP/1.1, the same over TLS, or HTTP/2 over TLS. */
export const transportOptions = {
  http: {},
  https: { https: { key, cert } },
  h2: { http2: true, https: { key, cert } }
}[transport]

/** Serves the requests of a contestant that is a listener of Node's servers. */
export function serve (listener, commands) {
  const server = {
    http: () => createServer(listener),
    https: () => createTlsServer({ key, cert }, listener),
    h2: () => createSecureServer({ key, cert }, listener)
  }[transport]()
  server.listen(0, '127.0.0.1', () => report(server.address().port, commands))
}

/** Serves the routes of a Fastify instance that was made with `transportOptions`. */
export async function serveApp (app, commands) {
  await app.listen({ host: '127.0.0.1', port: 0 })
  report(app.server.address().port, commands)
}
