/** True if two types are identical, including `any` and optional properties. */
export type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false

/** Compiles for `true` only. */
export function assertType<T extends true> (..._proof: T[]): void {}

assertType<Equal<{ a: 1 }, { a: 1 }>>()
// @ts-expect-error unknown is no number
assertType<Equal<unknown, number>>()
// @ts-expect-error an optional property differs
assertType<Equal<{ a?: 1 }, { a: 1 }>>()
// @ts-expect-error a wider type differs
assertType<Equal<string, 'a'>>()
