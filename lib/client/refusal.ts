import { reasonOf } from './callback.ts'

// A platform refuses the field in words: `The 'cache' field is not implemented`, `cache is not supported`. A host may have
// the same name.
const CACHE = /\bcache['"`]? (field|mode|option|is not [is])/

/**
 * Why `fetch` refuses a request, in words; undefined where the network may have failed. In a browser both are the same
 * TypeError: a request that cannot be constructed is a mistake of the program. `isGlobal` is false for a `fetch` of the
 * program, which may take other URLs and fewer fields.
 */
export function refusalOf (error: unknown, url: string | URL, init: RequestInit, isGlobal: boolean): string | undefined {
  const [message = '', why = '', code = ''] = reasonOf(error)
  // Node: undici refuses with these codes, or with a message alone. A failure of the network has another code.
  if (/^(UND_)?ERR_(INVALID|NOT_SUPPORTED)/.test(code)) return why
  if (code === '' && /^bad port|redirect|scheme/.test(why)) return why
  if (init.cache !== undefined && CACHE.test(message)) return `pass cache: undefined (${message})`
  try {
    // A stream was read by the first request.
    const body = init.body instanceof ReadableStream ? new ReadableStream() : init.body!
    const { protocol } = new URL(new Request(isGlobal ? url : 'http://localhost', { ...init, body, signal: null }).url)
    return /^https?:$/.test(protocol) ? undefined : `${protocol} is not http: or https:`
  } catch (refusal) {
    return (refusal as Error).message
  }
}
