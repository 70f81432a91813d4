import { FST_SSE_LOG_METHOD } from '../errors.ts'
import type { EventLog, RunLog } from './log.ts'

/** Returns the log as one that runs can use. Throws FST_SSE_LOG_METHOD if it lacks a method. */
export function asRunLog (log: EventLog): RunLog {
  const missing = (['peek', 'lease'] as const).find(method => typeof log[method] !== 'function')
  if (missing !== undefined) throw new FST_SSE_LOG_METHOD(`${missing}()`, 'runs need')
  return log as RunLog
}
