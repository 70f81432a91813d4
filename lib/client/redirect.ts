/** Sends a request of the chain. */
type Send = (url: URL, init: RequestInit) => Promise<Response>

// As many as `fetch` follows (WHATWG Fetch §4.4).
const MOST = 20
// The only headers for another origin: the form of the answer, and the position.
const SHARED = /^(accept(-language)?|cache-control|content-.*|last-event-id|user-agent)$/

/**
 * Follows redirects of a request with headers of the program, which `fetch` would send to any origin: another origin
 * gets none of them. A browser does not say where a redirect leads. There a GET is sent again, such that the browser
 * itself refuses another origin. Answers with the last response, or why a redirect is not followed.
 */
export async function follow (send: Send, url: string | URL, init: RequestInit, answer: Response): Promise<Response | string> {
  let place = new URL(url, globalThis.location?.href ?? 'http://localhost')
  let asked = init
  let response = answer
  for (let count = 0; isRedirect(response); count++) {
    if (response.type === 'opaqueredirect') return followWithin(send, place, asked)
    const location = response.headers.get('location')
    // A redirect without a target is an ordinary status.
    if (location === null) return response
    const { body: unread } = response
    // As `quietly` in callback.ts, whose import would split the bundle.
    new Promise(resolve => { resolve(unread?.cancel()) }).catch(() => {})
    if (count === MOST) return `it comes after ${MOST} others`
    const next = URL.canParse(location, place) ? new URL(location, place) : undefined
    if (next === undefined || !/^https?:$/.test(next.protocol)) return `it leads to ${location}`
    const { status } = response
    const { method = 'GET', body } = asked
    // A POST may become a GET (WHATWG Fetch §4.4).
    const becomesGet = status === 303 ? !/^(get|head)$/i.test(method) : status < 303 && /^post$/i.test(method)
    if (!becomesGet && body instanceof ReadableStream) return 'a body that is a stream cannot be sent again'
    asked = { ...asked, headers: kept(asked.headers, becomesGet, next.origin !== place.origin), ...becomesGet && { method: 'GET', body: null } }
    place = next
    response = await send(place, asked)
  }
  return response
}

/** Whether an answer is a redirect; `opaqueredirect` is one whose target a browser hides. */
function isRedirect ({ type, status }: Response): boolean {
  return type === 'opaqueredirect' || [301, 302, 303, 307, 308].includes(status)
}

async function followWithin (send: Send, url: URL, init: RequestInit): Promise<Response | string> {
  // A request with any other method may already have had its effect.
  if (!/^get$/i.test(init.method ?? 'GET') || url.origin !== globalThis.location?.origin) return 'a page cannot see where it leads'
  try {
    return await send(url, { ...init, redirect: 'follow', mode: 'same-origin' })
  } catch {
    return 'it leads to another origin'
  }
}

function kept (given: RequestInit['headers'], becomesGet: boolean, leavesOrigin: boolean): Headers {
  const headers = new Headers(given)
  for (const name of [...headers.keys()]) {
    if ((leavesOrigin && !SHARED.test(name)) || (becomesGet && name.startsWith('content-'))) headers.delete(name)
  }
  return headers
}
