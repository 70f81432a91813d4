import { InjectTransport, type InjectApp, type InjectTransportOptions } from './inject-transport.ts'

/** A `fetch` that asks an app without a port: for `connect(url, { fetch: injectFetch(app) })`, and any other client that takes a fetch. */
export function injectFetch (app: InjectApp, options: InjectTransportOptions = {}): (url: string | URL, init?: RequestInit) => Promise<Response> {
  return (url, init) => new InjectTransport(app, options).fetch(url, init)
}
