import { FST_SSE_LOG_UNAVAILABLE } from '../errors.ts'
import { sharedScope } from '../scope.ts'

/**
 * Settles as the call does, or rejects with the error after a time. `isWanted` of the call returns false from then on.
 */
export async function timely<T> (
  call: (isWanted: () => boolean) => Promise<T>,
  time: number,
  error: () => Error
): Promise<T> {
  let wanted = true
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    const onTimeout = (): void => {
      wanted = false
      reject(error())
    }
    timer = sharedScope.runInAsyncScope(setTimeout, undefined, onTimeout, time)
  })
  return Promise.race([call(() => wanted), late]).finally(() => clearTimeout(timer))
}

/**
 * Settles as the call of an event log does, or rejects with FST_SSE_LOG_UNAVAILABLE after `time` milliseconds. `name`:
 * the channel or epoch in its message.
 */
export function answerOf<T> (
  name: string,
  time: number,
  call: (isWanted: () => boolean) => Promise<T>
): Promise<T> {
  return timely(call, time, () => new FST_SSE_LOG_UNAVAILABLE(name, `did not answer within ${time} milliseconds`))
}
