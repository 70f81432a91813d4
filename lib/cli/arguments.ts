import { parseArgs } from 'node:util'

/** An option of a command. `value` is the name of its value; undefined for an option without one. */
export interface Option {
  readonly value?: string
  readonly short?: string
  /** Whether it may be repeated. */
  readonly multiple?: true
  readonly default?: string
  readonly text: string
}

export type OptionTable = Readonly<Record<string, Option>>

type Value<O extends Option> = O extends { value: string }
  ? (O extends { multiple: true } ? string[] : O extends { default: string } ? string : string | undefined)
  : boolean

export interface Arguments<O extends OptionTable> {
  readonly values: { readonly [K in keyof O]: Value<O[K]> }
  readonly positionals: readonly string[]
}

/** Parses the arguments of a command. Throws a UsageError. */
export function parse<O extends OptionTable> (args: readonly string[], options: O): Arguments<O> {
  const config = Object.entries(options).map(([name, { value, short, multiple = false }]) => [name, {
    type: value === undefined ? 'boolean' as const : 'string' as const,
    multiple,
    ...short === undefined ? {} : { short }
  }] as const)
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: Object.fromEntries(config),
      allowPositionals: true
    })
    const all = Object.entries(options).map(([name, option]) => [name, values[name] ?? defaultOf(option)])
    return { values: Object.fromEntries(all) as Arguments<O>['values'], positionals }
  } catch (error) {
    // The sentences after the first one are advice for other programs.
    throw new UsageError((error as Error).message.split(/\.?\n|\. /)[0])
  }
}

function defaultOf ({ value, multiple, default: text }: Option): string | boolean | string[] | undefined {
  return multiple === true ? [] : value === undefined ? false : text
}

/** Returns the number in the text of an option. Throws a UsageError. */
export function numberOf (name: string, text: string, { least, whole }: { least: number, whole: boolean }): number {
  const number = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN
  if (!(number >= least && number <= 1e9) || (whole && !Number.isInteger(number))) {
    throw new UsageError(
      `Option '--${name}' must be a ${whole ? 'whole number' : 'number'}, ${least} or more, not '${text}'`
    )
  }
  return number
}

/** The error of an invalid command. The exit code is 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly code = 'FST_SSE_USAGE'
}
