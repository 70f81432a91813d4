import { FST_SSE_CHANNEL_ENDED, FST_SSE_LOG_FOREIGN, FST_SSE_LOG_UNAVAILABLE } from '../../errors.ts'
import { isFull, isRefusal } from './commands.ts'

/**
 * Returns an error with a message of this package, which a client may receive; the message of Redis is its `cause`, for
 * the server's log.
 */
export function toLogError (channel: string, cause: unknown): Error {
  const error = errorFor(channel, cause)
  error.cause = cause
  return error
}

function errorFor (channel: string, cause: unknown): Error {
  const [word] = isRefusal(cause) ? cause.message.split(' ', 1) : []
  if (word === 'ENDED') return new FST_SSE_CHANNEL_ENDED()
  const foreign = (reason: string): Error => new FST_SSE_LOG_FOREIGN('keys of the channel', channel, reason)
  if (word === 'FOREIGN') return foreign('hold other data, so use another prefix or another name')
  if (word === 'NEWER') return foreign('are of a newer version of this package')
  return new FST_SSE_LOG_UNAVAILABLE(channel, reasonOf(cause, word))
}

function reasonOf (cause: unknown, word: string | undefined): string {
  if (word === 'UNPUBLISHABLE') return 'needs the right to publish: nothing was appended'
  return isFull(cause) ? 'has no memory left: nothing was appended' : 'cannot be used'
}
