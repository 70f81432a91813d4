/** True where two types are one and the same, `any` and optional properties included. */
export type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false

/** Compiles for `true` only. */
export function assertType<T extends true> (..._proof: T[]): void {}

assertType<Equal<{ a: 1 }, { a: 1 }>>()
// @ts-expect-error any is no number
assertType<Equal<any, number>>() // eslint-disable-line @typescript-eslint/no-explicit-any
// @ts-expect-error an optional property is another
assertType<Equal<{ a?: 1 }, { a: 1 }>>()
// @ts-expect-error
assertType<Equal<string, 'a'>>()
