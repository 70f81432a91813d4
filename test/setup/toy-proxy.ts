import { once } from 'node:events'
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net'
import { createGzip } from 'node:zlib'

interface Owner { teardown: (fn: () => unknown) => unknown }

/** How a proxy forwards a response. */
export type Manner = (from: IncomingMessage, to: ServerResponse, asked: IncomingMessage) => void

const pass = (from: IncomingMessage, to: ServerResponse, headers = from.headers): void => {
  to.writeHead(from.statusCode!, headers)
  to.flushHeaders()
}

/** Forwards bytes in blocks of this size. */
export const buffers = (size: number): Manner => (from, to) => {
  pass(from, to)
  let kept = Buffer.alloc(0)
  from.on('data', bytes => {
    kept = Buffer.concat([kept, bytes])
    for (; kept.length >= size; kept = kept.subarray(size)) to.write(kept.subarray(0, size))
  })
  from.on('end', () => to.end(kept))
}

/** Holds back everything, including the head, until the response is complete. */
export const keepsAll: Manner = (from, to) => {
  const kept: Buffer[] = []
  from.on('data', bytes => kept.push(bytes))
  from.on('end', () => to.writeHead(from.statusCode!, from.headers).end(Buffer.concat(kept)))
}

/** Compresses, without flushing. */
export const compresses: Manner = (from, to, { headers }) => {
  if (!/gzip/.test(headers['accept-encoding'] ?? '')) return passes(from, to)
  pass(from, to, { ...from.headers, 'content-encoding': 'gzip' })
  from.pipe(createGzip()).pipe(to)
}

/** Closes connections that were silent for that long. */
export const cutsSilence = (limit: number): Manner => (from, to) => {
  pass(from, to)
  let timer = setTimeout(() => to.destroy(), limit)
  from.on('data', bytes => {
    clearTimeout(timer)
    timer = setTimeout(() => to.destroy(), limit)
    to.write(bytes)
  })
  to.on('close', () => clearTimeout(timer))
  from.on('end', () => to.end())
}

/** Forwards everything at once. */
export function passes (from: IncomingMessage, to: ServerResponse): void {
  pass(from, to)
  from.pipe(to)
}

async function serve (t: Owner, server: Server): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => new Promise(resolve => server.close(resolve)))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Starts a proxy in front of a server. Returns its address. */
export async function toyProxy (t: Owner, port: number, manner: Manner): Promise<string> {
  const server = createServer((asked, to) => {
    const { method, url, headers } = asked
    const sent = request({ port, host: '127.0.0.1', method, path: url, headers: { ...headers, connection: 'close' } },
      from => {
        // `to` is notified of a broken connection.
        from.on('error', () => {})
        delete from.headers['transfer-encoding']
        delete from.headers.connection
        manner(from, to, asked)
      })
    sent.on('error', () => to.destroy())
    to.on('close', () => sent.destroy())
    sent.end()
  })
  const address = await serve(t, server)
  t.teardown(() => server.closeAllConnections())
  return address
}

/** Starts a proxy that uses HTTP/1.0 to its clients. */
export async function oldProxy (t: Owner, port: number): Promise<string> {
  return serve(t, createTcpServer(socket => {
    socket.on('error', () => {})
    socket.once('data', bytes => {
      const [method, path] = String(bytes).split(' ')
      const sent = request({ port, host: '127.0.0.1', method, path, headers: { connection: 'close' } }, from => {
        const headers = Object.entries(from.headers).filter(([name]) => name !== 'transfer-encoding').map((
          [name, value]
        ) => `${name}: ${String(value)}\r\n`)
        socket.write(`HTTP/1.0 ${from.statusCode} OK\r\n${headers.join('')}\r\n`)
        from.on('error', () => {}).pipe(socket)
      })
      sent.on('error', () => socket.destroy())
      socket.on('close', () => sent.destroy())
      sent.end()
    })
  }))
}
