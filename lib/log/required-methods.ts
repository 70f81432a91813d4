import { FST_SSE_LOG_METHOD } from '../errors.ts'
import type { EventLog, MemberLog, RunLog } from './log.ts'

/** Returns the log as one that runs can use. Throws FST_SSE_LOG_METHOD if it lacks a method. */
export const asRunLog = (log: EventLog): RunLog => withMethods(log, ['peek', 'lease'], 'runs need') as RunLog

/** Returns the log as one that presence can use. Throws FST_SSE_LOG_METHOD if it lacks a method. */
export const asMemberLog = (log: EventLog): MemberLog =>
  withMethods(log, ['hold', 'members'], 'presence needs') as MemberLog

function withMethods (log: EventLog, methods: ReadonlyArray<keyof EventLog>, feature: string): EventLog {
  const missing = methods.find(method => typeof log[method] !== 'function')
  if (missing !== undefined) throw new FST_SSE_LOG_METHOD(`${missing}()`, feature)
  return log
}
