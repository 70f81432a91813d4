import { StreamError } from './stream-error.ts'

type Values = Readonly<Record<string, unknown>>
type Rule = readonly [expected: string, fits: (value: unknown) => boolean, names: string]

const RULES: readonly Rule[] = [
  ['a number, 0 or more', value => typeof value === 'number' && value >= 0,
    'retryDelay maxRetryDelay maxAttempts inactivityTimeout maxEventBytes'],
  ['a function', value => typeof value === 'function', 'fetch onError onStateChange validate'],
  ['true or false', value => typeof value === 'boolean', 'reconnect'],
  ['a string', value => typeof value === 'string', 'method'],
  // A page may have no id in its storage.
  ['a string', value => value === null || typeof value === 'string', 'lastEventId'],
  ['true, false or a name', value => typeof value === 'boolean' || typeof value === 'string', 'share'],
  ['an AbortSignal', value => value === null || has(value, 'addEventListener'), 'signal'],
  ["a map of schemas, 'text' or 'json'", value => typeof value === 'object' && Object.values(Object(value) as Values).every(isForm), 'events']
]

/** FST_SSE_OPTION for an argument of `connect` that cannot be used; undefined where all can. */
export function misuseOf (url: unknown, options: unknown): StreamError | undefined {
  const given = Object(options) as Values
  if (given !== options) return misuse('options', 'an object')
  if (typeof url !== 'string' && typeof url !== 'function' && !has(url, 'href')) return misuse('url', 'a string, a URL or a function')
  for (const [expected, fits, names] of RULES) {
    const name = names.split(' ').find(name => given[name] !== undefined && !fits(given[name]))
    if (name !== undefined) return misuse(name, expected)
  }
  if (given.share === true && typeof url === 'function') return misuse('share', 'a name, since the URL is a function')
  if (given.body instanceof ReadableStream && comesBack(given)) return misuse('body', 'a function that makes the stream, since it is sent again')
}

/** Whether the client connects again. A POST is not repeated by itself. */
export function comesBack ({ reconnect, method }: { reconnect?: boolean, method?: string }): boolean {
  return reconnect ?? /^get$/i.test(method ?? 'GET')
}

const isForm = (form: unknown): boolean => Object(form) === form || form === 'text' || form === 'json'
const has = (value: unknown, name: string): boolean => (Object(value) as Values)[name] !== undefined
const misuse = (name: string, expected: string): StreamError => new StreamError('FST_SSE_OPTION', `Option '${name}' must be ${expected}`)
