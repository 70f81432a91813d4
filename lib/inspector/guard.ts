import type { FastifyInstance, FastifyRequest } from 'fastify'
import { FST_SSE_FORBIDDEN } from '../errors.ts'

export type Authorize = (request: FastifyRequest) => boolean | Promise<boolean>

// The page needs nothing of anybody else, and nobody may put it in a frame, where a click on something else would be one on its button.
const HEADERS = {
  'content-security-policy': "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin'
}

/**
 * Asks for every request. After all hooks of the app that this is registered in: whatever they find out about who asks is there by
 * then. What is not true is a no; what is thrown is the answer.
 */
export function guard (app: FastifyInstance, authorize: Authorize): void {
  app.addHook('preHandler', async (request, reply) => {
    reply.headers(HEADERS)
    if (await authorize(request) !== true) throw new FST_SSE_FORBIDDEN('the inspector is for those whom its authorize function lets in')
  })
}

/** The same for a stream that is open. A no may be thrown; anything else that is thrown is no answer. */
export async function mayGoOn (request: FastifyRequest, authorize: Authorize): Promise<boolean> {
  try {
    return await authorize(request) === true
  } catch (error) {
    const { statusCode } = error as { statusCode?: unknown }
    if (statusCode === 401 || statusCode === 403) return false
    throw error
  }
}

/**
 * Refuses what a page of another site sends with the browser of somebody who is permitted. Such a page cannot set a header like this one
 * unless CORS allows it, and some apps allow it to everybody: so the browser is believed where it says by itself who is asking
 * (Sec-Fetch-Site, which it does over HTTPS and on localhost, and which no script can set).
 */
export function refuseOthers ({ headers }: FastifyRequest): void {
  const site = headers['sec-fetch-site']
  if (headers['x-requested-with'] === 'inspector' && (site === undefined || site === 'same-origin')) return
  throw new FST_SSE_FORBIDDEN('it takes the page of the inspector, or its header X-Requested-With: inspector')
}
