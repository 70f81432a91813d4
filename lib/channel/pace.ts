import type { DecodedEvent } from './frame-batch.ts'
import { FST_SSE_OPTION, describe } from '../errors.ts'
import { aFunction, isOptions, milliseconds, validateOptions, type Rule } from '../validate-options.ts'

/** The interval at which a subscriber receives the latest event of each key. `E` is the type of a received event. */
export interface Pace<E = DecodedEvent> {
  /**
   * Milliseconds. Events wait up to this time, and a later one replaces a waiting one of its key. Waiting events of
   * 1,048,576 characters are sent earlier.
   */
  readonly every: number
  /**
   * Returns the key of an event. An event for which it returns undefined or null has no key: it is always sent, at
   * once, after all waiting events.
   */
  readonly key: (event: E) => unknown
}

const RULES: Record<keyof Pace, Rule> = { every: milliseconds(1), key: aFunction }

/** Rule of the option `pace` of a channel. `resolvePace` checks what is in it. */
export const paceRule: Rule = { expected: 'an object { every, key }', fits: isOptions }
/** Rule of the option `pace` of a subscription. */
export const paceOrNullRule: Rule = {
  expected: 'an object { every, key }, or null',
  fits: value => value === null || isOptions(value)
}

/** Returns a pace. Throws FST_SSE_OPTION for an invalid one. */
export function resolvePace (value: object): Pace {
  const { every, key } = validateOptions<Partial<Pace>>(value, {}, RULES, 'pace')
  if (every === undefined) throw new FST_SSE_OPTION('pace.every', RULES.every.expected, describe(every))
  if (key === undefined) throw new FST_SSE_OPTION('pace.key', RULES.key.expected, describe(key))
  return { every, key }
}

/** Whether subscribers with these paces receive the same events at the same time. */
export const isSamePace = (one: Pace | undefined, other: Pace | undefined): boolean =>
  one?.every === other?.every && one?.key === other?.key
