import { connect as connectSocket, type OnReadOpts, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { certificate } from '../setup/certificate.ts'

/** HTTP/1.1, the same over TLS, or HTTP/2 over TLS. */
export type Transport = 'http' | 'https' | 'h2'

/** Where a server listens. */
export interface Server { port: number, transport: Transport }

/** The key and the certificate of all servers. */
export const secrets = certificate()

/** The event of an open connection. */
export const OPEN = { http: 'connect', https: 'secureConnect', h2: 'secureConnect' } as const

/** Connects to a server. `onread` gives the memory for received bytes. */
export function connectTo ({ port, transport }: Server, onread?: OnReadOpts): Socket {
  const options = { port, host: '127.0.0.1', ...onread !== undefined && { onread } }
  if (transport === 'http') return connectSocket(options).setNoDelay()
  const secure: ConnectionOptions = { ...options, ca: secrets.cert, ...transport === 'h2' && { ALPNProtocols: ['h2'] } }
  return connectTls(secure).setNoDelay()
}
