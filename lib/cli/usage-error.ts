/** What was asked for cannot be done as it stands: the exit code is 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly code = 'FST_SSE_USAGE'
}
