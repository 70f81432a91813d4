/** Sends a request of the chain. */
type SendRequest = (url: URL, init: RequestInit) => Promise<Response>

// The limit of `fetch` (WHATWG Fetch §4.4).
const MAX_REDIRECTS = 20
// The only headers for another origin: the form of the response, and the position.
const SAFE = /^(accept(-language)?|cache-control|content-.*|last-event-id|user-agent)$/

/**
 * Follows redirects of a request with headers of the program, which `fetch` would send to any origin: another origin
 * gets none of them. A browser hides the target of a redirect. There a GET is sent again, such that the browser itself
 * rejects another origin. Returns the last response, or the reason why a redirect is not followed.
 */
export async function followRedirects (
  send: SendRequest,
  url: string | URL,
  init: RequestInit,
  first: Response
): Promise<Response | string> {
  let current = new URL(url, globalThis.location?.href ?? 'http://localhost')
  let request = init
  let response = first
  for (let count = 0; isRedirect(response); count++) {
    if (response.type === 'opaqueredirect') return followWithin(send, current, request)
    const location = response.headers.get('location')
    // A redirect without a target is an ordinary status.
    if (location === null) return response
    const { body: unread } = response
    // As `quietly` in callback.ts, whose import would split the bundle.
    new Promise(resolve => { resolve(unread?.cancel()) }).catch(() => {})
    if (count === MAX_REDIRECTS) return `it is redirect ${MAX_REDIRECTS + 1}`
    const next = URL.canParse(location, current) ? new URL(location, current) : undefined
    if (next === undefined || !/^https?:$/.test(next.protocol)) return `its target is ${location}`
    const { status } = response
    const { method = 'GET', body } = request
    // A POST may become a GET (WHATWG Fetch §4.4).
    const becomesGet = status === 303 ? !/^(get|head)$/i.test(method) : status < 303 && /^post$/i.test(method)
    if (!becomesGet && body instanceof ReadableStream) return 'a body that is a stream cannot be sent again'
    request = {
      ...request,
      headers: remainingHeaders(request.headers, becomesGet, next.origin !== current.origin),
      ...becomesGet && { method: 'GET', body: null }
    }
    current = next
    response = await send(current, request)
  }
  return response
}

/** Whether a response is a redirect; the target of an `opaqueredirect` is hidden by the browser. */
function isRedirect ({ type, status }: Response): boolean {
  return type === 'opaqueredirect' || [301, 302, 303, 307, 308].includes(status)
}

async function followWithin (send: SendRequest, url: URL, init: RequestInit): Promise<Response | string> {
  // A request with any other method may already have had its effect.
  if (!/^get$/i.test(init.method ?? 'GET') || url.origin !== globalThis.location?.origin) {
    return 'a page cannot see its target'
  }
  try {
    return await send(url, { ...init, redirect: 'follow', mode: 'same-origin' })
  } catch {
    return 'its target is another origin'
  }
}

function remainingHeaders (input: RequestInit['headers'], becomesGet: boolean, leavesOrigin: boolean): Headers {
  const headers = new Headers(input)
  for (const name of [...headers.keys()]) {
    if ((leavesOrigin && !SAFE.test(name)) || (becomesGet && name.startsWith('content-'))) headers.delete(name)
  }
  return headers
}
