/**
 * Why `fetch` refuses a request, in words; undefined where the network may have failed. In a browser both are the same
 * TypeError: a request that cannot be constructed is a mistake of the program. `isGlobal` is false for a `fetch` of the
 * program, which may take other URLs.
 */
export function refusalOf (error: unknown, url: string | URL, init: RequestInit, isGlobal: boolean): string | undefined {
  const { cause } = Object(error) as { cause?: unknown }
  const { code = '', message = '' } = Object(cause) as { code?: unknown, message?: unknown }
  // Node: undici refuses with these codes, or with a message alone. A failure of the network has another code.
  if (/^(UND_)?ERR_(INVALID|NOT_SUPPORTED)/.test(String(code))) return String(message)
  if (code === '' && /^bad port|redirect|scheme/.test(String(message))) return String(message)
  try {
    // A stream was read by the first request.
    const body = init.body instanceof ReadableStream ? new ReadableStream() : init.body!
    const { protocol } = new URL(new Request(isGlobal ? url : 'http://localhost', { ...init, body, signal: null }).url)
    return /^https?:$/.test(protocol) ? undefined : `${protocol} is not http: or https:`
  } catch (refusal) {
    return (refusal as Error).message
  }
}
