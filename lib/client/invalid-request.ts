import { errorTexts } from './callback.ts'

// A platform rejects the field with a text: `The 'cache' field is not implemented`, `cache is not supported`. A host
// may have the same name.
const CACHE = /\bcache['"`]? (field|mode|option|is not [is])/

/**
 * Returns why `fetch` cannot send a request; undefined if the network may have failed. In a browser both are the same
 * TypeError: a request that cannot be constructed is a mistake of the program. `isGlobal` is false for a `fetch` of the
 * program, which may accept other URLs and fewer fields.
 */
export function invalidReason (
  error: unknown,
  url: string | URL,
  init: RequestInit,
  isGlobal: boolean
): string | undefined {
  const [message = '', reason = '', code = ''] = errorTexts(error)
  // Node: undici rejects with these codes, or with a message alone. A failure of the network has another code.
  if (/^(UND_)?ERR_(INVALID|NOT_SUPPORTED)/.test(code)) return reason
  if (code === '' && /^bad port|redirect|scheme/.test(reason)) return reason
  if (init.cache !== undefined && CACHE.test(message)) return `pass cache: undefined (${message})`
  try {
    // The first request has read the stream.
    const body = init.body instanceof ReadableStream ? new ReadableStream() : init.body!
    const { protocol } = new URL(new Request(isGlobal ? url : 'http://localhost', { ...init, body, signal: null }).url)
    return /^https?:$/.test(protocol) ? undefined : `${protocol} is not http: or https:`
  } catch (invalid) {
    return (invalid as Error).message
  }
}
