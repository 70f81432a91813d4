import { parseArgs } from 'node:util'

/**
 * `--events` of one stream, `--clients` with streams of a hundred, `--streams` of ten; `--connections` of a broadcast
 * and how many events `--each` of them gets in a round; `--idle` connections; milliseconds that a reader is left to
 * `--stall`; clients that `--leave`.
 */
const SIZES = {
  rounds: 5,
  events: 200_000,
  clients: 100,
  streams: 2_000,
  connections: 1_000,
  each: 400,
  idle: 5_000,
  stall: 5_000,
  leave: 100
}
export type Sizes = typeof SIZES

/** The options of a program: the sizes, and options whose value is a text. Throws with their names for another one. */
export function parse<Name extends string> (
  ...names: Name[]
): { sizes: Sizes, texts: Record<Name, string | undefined> } {
  const values = valuesOf([...names, ...Object.keys(SIZES)])
  const sizes = { ...SIZES }
  for (const name of Object.keys(SIZES) as Array<keyof Sizes>) {
    const value = values[name]
    if (value === undefined) continue
    if (!/^[1-9]\d*$/.test(String(value))) throw new TypeError(`--${name} takes a whole number from 1, got ${value}`)
    sizes[name] = Number(value)
  }
  const texts = Object.fromEntries(names.map(name => [name, values[name]])) as Record<Name, string | undefined>
  return { sizes, texts }
}

function valuesOf (names: readonly string[]): Record<string, string | undefined> {
  try {
    return parseArgs({ options: Object.fromEntries(names.map(name => [name, { type: 'string' }] as const)) }).values
  } catch (error) {
    throw new TypeError(`${(error as Error).message}. The options: ${names.map(name => `--${name}`).join(', ')}`)
  }
}
