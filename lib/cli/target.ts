import { UsageError } from './usage-error.ts'

/** A stream, and the headers to ask for it with. */
export interface Target { readonly url: URL, readonly headers: Readonly<Record<string, string>> }

/** The one URL among the arguments, and headers as `Name: value`. */
export function targetOf (positionals: readonly string[], headers: readonly string[]): Target {
  const [text, ...others] = positionals
  if (text === undefined) throw new UsageError('There is no URL')
  if (others.length > 0) throw new UsageError(`One URL is enough, and there are more: '${others.join("', '")}'`)
  const url = urlOf(text)
  return { headers: { ...credentialsOf(url), ...headersOf(headers) }, url: bare(url) }
}

/** Names are in small letters. */
function headersOf (lines: readonly string[]): Record<string, string> {
  const headers = new Headers()
  for (const line of lines) {
    const colon = line.indexOf(':')
    try {
      if (colon === -1) throw new TypeError('it has no colon')
      headers.append(line.slice(0, colon).trim(), line.slice(colon + 1).trim())
    } catch {
      // Its value may be a secret.
      throw new UsageError(`A header is 'Name: value', and '${line.slice(0, Math.max(colon, 0)) || line}' is none that can be sent`)
    }
  }
  return Object.fromEntries(headers)
}

/** A URL of a stream. */
export function urlOf (text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) throw new UsageError(`A URL begins with http:// or https://, and '${text}' does not, or is none`)
  return url
}

// A URL with a password in it is one that fetch refuses, and that would stand in what is printed.
function credentialsOf ({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {}
  try {
    return { authorization: `Basic ${Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')}` }
  } catch {
    throw new UsageError('The name or the password in the URL is not percent-encoded')
  }
}

function bare (url: URL): URL {
  const copy = new URL(url)
  copy.username = copy.password = copy.hash = ''
  return copy
}
