import type { InjectOptions } from 'fastify'

/** What a request sends, as `fetch` takes it, and its type where the payload says nothing of it. */
export function bodyOf (payload: InjectOptions['payload']): { body?: NonNullable<RequestInit['body']>, type?: string } {
  if (payload === undefined) return {}
  // Bytes: `fetch` would call a string text/plain, which `inject` does not.
  if (typeof payload === 'string') return { body: Buffer.from(payload) }
  if (payload instanceof Uint8Array || payload instanceof FormData || Symbol.asyncIterator in payload) return { body: payload as NonNullable<RequestInit['body']> }
  return { body: Buffer.from(JSON.stringify(payload)), type: 'application/json' }
}
