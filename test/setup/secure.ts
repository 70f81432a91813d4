import { once } from 'node:events'
import http2 from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { certificate } from './certificate.ts'

/** Starts an HTTP/2 server over TLS, which serves `one` over HTTP/1.1. Returns its URL. */
export async function secure (
  t: { teardown: (fn: () => unknown) => unknown },
  serve: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void
): Promise<string> {
  const server = http2.createSecureServer({ ...certificate(), allowHTTP1: true }, (request, response) => {
    if (request.httpVersion === '1.1') response.end('one')
  })
  const sockets = new Set<Socket>()
  server.on('connection', socket => sockets.add(socket))
  server.on('stream', (stream, headers) => serve(stream.on('error', () => {}), headers))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}/events?a=b`
}
