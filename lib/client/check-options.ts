import { encodingOf } from './encoding.ts'
import { StreamError } from './stream-error.ts'

type Values = Readonly<Record<string, unknown>>
type OptionRule = readonly [expected: string, isValid: (value: unknown) => boolean, names: string]

const RULES: readonly OptionRule[] = [
  ['a number, 0 or more', value => typeof value === 'number' && value >= 0,
    'retryDelay maxRetryDelay maxAttempts inactivityTimeout maxEventBytes'],
  ['a function', value => typeof value === 'function', 'fetch onError onStateChange validate'],
  ['true or false', value => typeof value === 'boolean', 'reconnect'],
  ['a string', value => typeof value === 'string', 'method'],
  // A page may have no id in its storage.
  ['a string', value => value === null || typeof value === 'string', 'lastEventId'],
  ['true, false or a name', value => typeof value === 'boolean' || typeof value === 'string', 'share'],
  ['an AbortSignal', value => value === null || has(value, 'addEventListener'), 'signal'],
  ["a map of schemas, 'text' or 'json'",
    value => typeof value === 'object' && Object.values(Object(value) as Values).every(isEncoding), 'events']
]

/** Returns FST_SSE_OPTION for the first invalid argument of `connect`; undefined if all are valid. */
export function checkOptions (url: unknown, input: unknown): StreamError | undefined {
  const options = Object(input) as Values
  if (options !== input) return invalid('options', 'an object')
  if (typeof url !== 'string' && typeof url !== 'function' && !has(url, 'href')) {
    return invalid('url', 'a string, a URL or a function')
  }
  for (const [expected, isValid, names] of RULES) {
    const name = names.split(' ').find(name => options[name] !== undefined && !isValid(options[name]))
    if (name !== undefined) return invalid(name, expected)
  }
  for (const [event, schema] of Object.entries(options.events ?? {})) {
    try {
      encodingOf(schema)
    } catch (cause) {
      return invalid(`events.${event}`, 'a schema that gives its JSON Schema, such as toStandardJsonSchema(schema)', { cause })
    }
  }
  if (options.share === true && typeof url === 'function') {
    return invalid('share', 'a name, since the URL is a function')
  }
  if (options.body instanceof ReadableStream && reconnects(options)) {
    return invalid('body', 'a function, since the stream is sent again')
  }
}

/** Returns whether the client connects again. By default only for GET: it does not repeat a POST. */
export function reconnects ({ reconnect, method }: { reconnect?: boolean, method?: string }): boolean {
  return reconnect ?? /^get$/i.test(method ?? 'GET')
}

const isEncoding = (value: unknown): boolean => Object(value) === value || value === 'text' || value === 'json'
const has = (value: unknown, name: string): boolean => (Object(value) as Values)[name] !== undefined
const invalid = (name: string, expected: string, details?: ErrorOptions): StreamError =>
  new StreamError('FST_SSE_OPTION', `Option '${name}' must be ${expected}`, details)
