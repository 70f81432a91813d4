import { parseArgs } from 'node:util'
import { UsageError } from './usage-error.ts'

/** One option of a command. It takes a value where `value` says what that is. */
export interface Option {
  readonly value?: string
  readonly short?: string
  /** It may stand there more than once. */
  readonly multiple?: true
  readonly default?: string
  readonly text: string
}

export type Options = Readonly<Record<string, Option>>

type Value<O extends Option> = O extends { value: string } ? (O extends { multiple: true } ? string[] : O extends { default: string } ? string : string | undefined) : boolean

export interface Arguments<O extends Options> {
  readonly values: { readonly [K in keyof O]: Value<O[K]> }
  readonly positionals: readonly string[]
}

/** What a command was given. Throws a UsageError. */
export function parse<O extends Options> (args: readonly string[], options: O): Arguments<O> {
  const config = Object.entries(options).map(([name, { value, short, multiple = false }]) => [name, {
    type: value === undefined ? 'boolean' as const : 'string' as const,
    multiple,
    ...short === undefined ? {} : { short }
  }] as const)
  try {
    const { values, positionals } = parseArgs({ args: [...args], options: Object.fromEntries(config), allowPositionals: true })
    const all = Object.entries(options).map(([name, option]) => [name, values[name] ?? standardOf(option)])
    return { values: Object.fromEntries(all) as Arguments<O>['values'], positionals }
  } catch (error) {
    // What follows the first sentence is advice for other programs.
    throw new UsageError((error as Error).message.split(/\.?\n|\. /)[0])
  }
}

function standardOf ({ value, multiple, default: standard }: Option): string | boolean | string[] | undefined {
  return multiple === true ? [] : value === undefined ? false : standard
}

/** The number that an option was given. */
export function numberOf (name: string, text: string, { least, whole }: { least: number, whole: boolean }): number {
  const number = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN
  if (!(number >= least && number <= 1e9) || (whole && !Number.isInteger(number))) {
    throw new UsageError(`Option '--${name}' takes a ${whole ? 'whole number' : 'number'}, ${least} or more, and got '${text}'`)
  }
  return number
}
