/** Values that may be thrown, and throw themselves when they are inspected. New ones at each call. */
export function oddities (): Array<[what: string, thrown: unknown]> {
  const revoked = (target: object): unknown => {
    const { proxy, revoke } = Proxy.revocable(target, {})
    revoke()
    return proxy
  }
  const withGetter = (target: object, name: string): object =>
    Object.defineProperty(target, name, {
      get () {
        throw new Error(`${name} was read`)
      },
      enumerable: name === 'extra'
    })
  return [
    ['a revoked proxy', revoked({})],
    ['a revoked proxy of an error', revoked(new Error('x'))],
    ['a revoked proxy of a function', revoked(() => {})],
    ['a proxy whose traps throw', new Proxy(new Error('x'), {
      get () {
        throw new Error('trap')
      },
      getPrototypeOf () {
        throw new Error('trap')
      }
    })],
    ...['name', 'message', 'stack', 'code', 'statusCode', 'cause', 'extra'].map(name =>
      [`an error whose ${name} throws`, withGetter(new Error('x'), name)] as [string, unknown]
    ),
    ['an object whose message throws', withGetter({}, 'message')],
    ['an error whose cause cannot be read', new Error('x', { cause: revoked({}) })]
  ]
}

/** Replacements for `cancel()` of a body or a reader that is not the platform's. */
export function oddCancels (): Array<[what: string, cancel: (() => unknown) | undefined]> {
  const fail = (): never => { throw new Error('cancel') }
  return [
    ['no cancel()', undefined],
    ['a cancel() that throws', fail],
    ['a cancel() that rejects', async () => fail()],
    ['a cancel() that returns nothing', () => {}],
    ['a cancel() that returns a number', () => 5],
    ['a cancel() that returns a promise without catch()', () => ({ then: (resolve: () => void) => resolve() })],
    ['a cancel() that returns a promise whose then() throws', () => ({ then: fail })]
  ]
}
