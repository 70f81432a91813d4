import type { FastifyInstance, FastifyRequest } from 'fastify'
import { FST_SSE_FORBIDDEN } from '../errors.ts'

export type Authorize = (request: FastifyRequest) => boolean | Promise<boolean>

// The page loads nothing from other origins. It cannot be framed: in a frame, a click meant for another page could
// press one of its buttons.
const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin'
}

/**
 * Calls `authorize` for every request. It runs after all hooks of the surrounding app, so a session or a user is set by
 * then. Any result but `true` is answered with 403; an error that it throws is the answer.
 */
export function guard (app: FastifyInstance, authorize: Authorize): void {
  app.addHook('preHandler', async (request, reply) => {
    reply.headers(HEADERS)
    if (await authorize(request) !== true) {
      throw new FST_SSE_FORBIDDEN('the authorize function of the inspector did not return true')
    }
  })
}

/** Checks an open stream again. A thrown 401 or 403 means false; any other error is thrown, and revokes nothing. */
export async function isStillAuthorized (request: FastifyRequest, authorize: Authorize): Promise<boolean> {
  try {
    return await authorize(request) === true
  } catch (error) {
    const { statusCode } = error as { statusCode?: unknown }
    if (statusCode === 401 || statusCode === 403) return false
    throw error
  }
}

/**
 * Rejects a request that a page of another site sends through the browser of an authorized user (CSRF). Such a page
 * cannot set this header unless CORS allows it, and some apps allow it to every origin. So `Sec-Fetch-Site` is checked,
 * too: browsers send it over HTTPS and on localhost, and no script can set it.
 */
export function rejectCrossSite ({ headers }: FastifyRequest): void {
  const site = headers['sec-fetch-site']
  if (headers['x-requested-with'] === 'inspector' && (site === undefined || site === 'same-origin')) return
  throw new FST_SSE_FORBIDDEN(
    'this request needs the header X-Requested-With: inspector, and must come from the page of the inspector'
  )
}
