import { UsageError } from './arguments.ts'

/** The URL of a stream, and the headers of the request. */
export interface Target { readonly url: URL, readonly headers: Readonly<Record<string, string>> }

/** Returns the target of the arguments: one URL, and headers as `Name: value`. Throws a UsageError. */
export function targetOf (positionals: readonly string[], headers: readonly string[]): Target {
  const [text, ...others] = positionals
  if (text === undefined) throw new UsageError('The URL is missing')
  if (others.length > 0) throw new UsageError(`Unexpected arguments: '${others.join("', '")}'`)
  const url = urlOf(text)
  return { headers: { ...credentialsOf(url), ...headersOf(headers) }, url: withoutCredentials(url) }
}

/** Parses headers; their names become lower case. */
function headersOf (lines: readonly string[]): Record<string, string> {
  const headers = new Headers()
  for (const line of lines) {
    const colon = line.indexOf(':')
    try {
      if (colon === -1) throw new TypeError('it has no colon')
      headers.append(line.slice(0, colon).trim(), line.slice(colon + 1).trim())
    } catch {
      // The value may be a secret.
      throw new UsageError(`Invalid header '${line.slice(0, Math.max(colon, 0)) || line}': expected 'Name: value'`)
    }
  }
  return Object.fromEntries(headers)
}

/** Parses the URL of a stream. Throws a UsageError. */
export function urlOf (text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw new UsageError(`Invalid URL '${text}': expected http:// or https://`)
  }
  return url
}

// fetch rejects a URL with a password, and the output would show it.
function credentialsOf ({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {}
  try {
    return {
      authorization: `Basic ${
        Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')
      }`
    }
  } catch {
    throw new UsageError('The name or the password in the URL is not percent-encoded')
  }
}

function withoutCredentials (url: URL): URL {
  const copy = new URL(url)
  copy.username = copy.password = copy.hash = ''
  return copy
}
