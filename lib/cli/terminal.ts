import type { Writable } from 'node:stream'

/** Where a command writes. */
export type Output = Writable & { isTTY?: boolean }

/** What a command has of the world around it. */
export interface Terminal {
  readonly stdout: Output
  readonly stderr: Output
  readonly env: Readonly<Record<string, string | undefined>>
  /** Aborts when the user has had enough. */
  readonly signal: AbortSignal
}

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 }

export type Paint = (style: keyof typeof CODES, text: string) => string

/** Colours, for people alone (no-color.org): a pipe gets none, and neither does who wants none. */
export function painterOf ({ stdout, env: { NO_COLOR, TERM } }: Terminal): Paint {
  const paints = stdout.isTTY === true && (NO_COLOR ?? '') === '' && TERM !== 'dumb'
  return (style, text) => paints && text !== '' ? `\x1b[${CODES[style]}m${text}\x1b[0m` : text
}

/** Resolves when there is room for more: who reads slowly is waited for, and what is not read fills no memory. */
export async function write (output: Output, text: string, signal: AbortSignal): Promise<void> {
  if (output.write(text) || signal.aborted || output.destroyed) return
  await new Promise<void>(resolve => {
    const over = (): void => {
      for (const name of ['drain', 'error', 'close']) output.off(name, over)
      signal.removeEventListener('abort', over)
      resolve()
    }
    for (const name of ['drain', 'error', 'close']) output.on(name, over)
    signal.addEventListener('abort', over)
  })
}
