import type { Writable } from 'node:stream'

/** An output of a command. */
export type Output = Writable & { isTTY?: boolean }

/** The environment of a command. */
export interface Terminal {
  readonly stdout: Output
  readonly stderr: Output
  readonly env: Readonly<Record<string, string | undefined>>
  /** Aborts at Ctrl-C. */
  readonly signal: AbortSignal
}

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 }

export type Paint = (style: keyof typeof CODES, text: string) => string

/** Returns a function that colours texts, on a terminal only and without NO_COLOR (no-color.org). */
export function painterOf ({ stdout, env: { NO_COLOR, TERM } }: Terminal): Paint {
  const paints = stdout.isTTY === true && (NO_COLOR ?? '') === '' && TERM !== 'dumb'
  return (style, text) => paints && text !== '' ? `\x1b[${CODES[style]}m${text}\x1b[0m` : text
}

/** Writes, and resolves when there is room for more: a slow reader fills no memory. */
export async function write (output: Output, text: string, signal: AbortSignal): Promise<void> {
  if (output.write(text) || signal.aborted || output.destroyed) return
  await new Promise<void>(resolve => {
    const finish = (): void => {
      for (const name of ['drain', 'error', 'close']) output.off(name, finish)
      signal.removeEventListener('abort', finish)
      resolve()
    }
    for (const name of ['drain', 'error', 'close']) output.on(name, finish)
    signal.addEventListener('abort', finish)
  })
}

// Controls (C0, DEL, C1), characters that change the direction of a text, line separators, and lone surrogates.
const UNSAFE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

/**
 * Escapes a text such that it cannot control a terminal. The text of a server may hold commands: to move the cursor, to
 * overwrite lines, to answer in the user's name. The escapes are those of JSON, so JSON keeps its meaning.
 */
export function printable (text: string): string {
  return text.replace(UNSAFE, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Returns the message of an error and of its first cause: `fetch failed` explains less than its cause. */
export function reasonOf (error: unknown): string {
  let [first, last] = ['', '']
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    // The error of several addresses holds many errors, and has no text.
    const text = cause.message.trim() === ''
      ? String((cause as NodeJS.ErrnoException).code ?? cause.name)
      : cause.message.trim()
    first ||= text
    last = text
  }
  return first === last || first.endsWith(last)
    ? first
    : `${first.replace(/: (fetch failed|terminated)$/, '')}: ${last}`
}
